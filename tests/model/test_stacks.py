"""Tests t5x_lite/model/stacks.py"""

import dataclasses

import jax
import numpy as np
import pytest
from flax import nnx

from t5x_lite.model.decoder import DecoderOnlyStack
from t5x_lite.model.stacks import DecoderStack, EncoderStack
from tests import tiny


def test_each_layer_starts_with_parameters_of_its_own():
    query_LDNH = np.asarray(tiny.model(tiny.T5_1_1).decoder.blocks.self_attention.query[...])
    assert query_LDNH.shape == (4, 20, 3, 5)
    assert not np.allclose(query_LDNH[0], query_LDNH[1])


def test_a_stack_has_one_table_of_biases_and_a_umt5_one_a_layer():
    assert tiny.model(tiny.T5_1_1).decoder.position_bias.table.shape == (3, 32)
    model = tiny.model(tiny.UMT5)
    assert model.encoder.position_bias.table.shape == (2, 3, 32)
    table_LNK = np.asarray(model.decoder.position_bias.table[...])
    assert table_LNK.shape == (4, 3, 32)
    assert not np.allclose(table_LNK[0], table_LNK[1])


@pytest.mark.parametrize("stack", [EncoderStack, DecoderStack, DecoderOnlyStack])
def test_every_stack_checks_the_tensors_to_keep(stack):
    with pytest.raises(ValueError, match=r"train.remat names \['wi_0'\]"):
        stack(dataclasses.replace(tiny.T5_1_1, remat=("wi_0",)), rngs=nnx.Rngs(0))


@pytest.mark.parametrize(("stack", "num_layers"), [(EncoderStack, 2), (DecoderStack, 4), (DecoderOnlyStack, 4)])
def test_an_encoder_looks_both_ways_and_a_decoder_back(stack, num_layers):
    shapes = jax.eval_shape(lambda: stack(tiny.T5_1_1, rngs=nnx.Rngs(0)))
    assert shapes.blocks.mlp.wo.shape[0] == num_layers
    assert shapes.position_bias.bidirectional is (stack is EncoderStack)
