"""Tests t5x_lite/model/embedding.py"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from t5x_lite.model.embedding import LMHead, TokenEmbedding
from tests import tiny


class Bag(TokenEmbedding, LMHead):
    """The smallest model with an embedding and logits."""

    def __init__(self, cfg, *, rngs):
        super().__init__(cfg, rngs=rngs)
        self.init_logits_kernel(rngs)


def with_fields(**fields):
    return tiny.drawn(Bag, dataclasses.replace(tiny.T5_1_1, **fields))


def test_ids_are_embedded_by_their_rows_in_the_compute_dtype():
    model, ids_BT = with_fields(), tiny.ids(3, 7)
    np.testing.assert_array_equal(model.embed(ids_BT), np.asarray(model.embedding)[ids_BT])
    assert with_fields(dtype="bfloat16").embed(ids_BT).dtype == jnp.bfloat16


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("scaled", [None, False, True])
def test_logits_use_the_embedding_or_a_separate_kernel_and_their_scale(tied, scaled):
    model = with_fields(tie_embeddings=tied, scale_logits=scaled)
    kernel_DV = np.asarray(model.embedding).T if tied else np.asarray(model.logits_kernel)
    kernel_DV = kernel_DV / 20**0.5 if (tied if scaled is None else scaled) else kernel_DV
    hidden_BTD = np.random.default_rng(1).normal(size=(3, 7, 20))
    np.testing.assert_allclose(model.output_kernel(), kernel_DV, rtol=1e-6)
    np.testing.assert_allclose(model.logits(jnp.asarray(hidden_BTD)), hidden_BTD @ kernel_DV, rtol=1e-5, atol=1e-5)
    assert hasattr(model, "logits_kernel") is not tied


def test_logits_are_float32_whatever_the_hidden_states_are():
    model = with_fields(dtype="bfloat16")
    assert jax.eval_shape(model.logits, jnp.zeros((3, 7, 20), jnp.bfloat16)).dtype == jnp.float32


def test_weights_start_with_the_published_spreads():
    cfg = dataclasses.replace(tiny.T5_1_1, emb_dim=160)
    model = Bag(cfg, rngs=nnx.Rngs(0))
    np.testing.assert_allclose(np.std(model.embedding[...]), 1.0, rtol=0.02)
    np.testing.assert_allclose(np.std(model.logits_kernel[...]), 160**-0.5, rtol=0.02)
