"""Tests t5x_lite/model/sentence_head.py"""

import dataclasses

import jax
import numpy as np
import pytest

from t5x_lite.checkpoints.weights import placed
from t5x_lite.config import MeshConfig
from t5x_lite.config.architectures import Architecture
from t5x_lite.model.sentence_head import Dense, SentenceHead, embed, encoded, shortened
from t5x_lite.parallel.mesh import batch_sharding, make_mesh
from tests import numpy_t5, tiny

CFG = dataclasses.replace(tiny.UMT5, vocab_size=128)
INPUTS_BS = tiny.batch()[0]
KERNEL_DE = np.random.default_rng(3).normal(size=(CFG.emb_dim, 9)).astype(np.float32)
BIAS_E = np.random.default_rng(4).normal(size=9).astype(np.float32)


def expected(pooling):
    """Pooled states by an independent computation, one row at a time."""
    states_BSD = numpy_t5.encode(tiny.drawn_by_name("encoder", CFG), INPUTS_BS)
    rows = zip(states_BSD, INPUTS_BS, strict=True)
    return np.stack([x_SD[0] if pooling == "first" else x_SD[ids_S > 0].mean(axis=0) for x_SD, ids_S in rows])


@pytest.mark.parametrize("name", ["encoder_decoder", "encoder", "masked_lm", *tiny.CLASSIFIERS])
def test_every_model_with_an_encoder_encodes(name):
    model = tiny.drawn_by_name(name, CFG)
    own = {"encoder_decoder": lambda: model.encode(INPUTS_BS), "encoder": lambda: model(INPUTS_BS)}
    states_BSD = own.get(name, lambda: model.encoder(INPUTS_BS))()
    np.testing.assert_array_equal(encoded(model, INPUTS_BS), states_BSD)


@pytest.mark.parametrize("pooling", ["mean", "first"])
def test_a_head_pools_projects_and_normalises(pooling):
    dense = (Dense(kernel_DE=KERNEL_DE, bias_E=BIAS_E, activation="tanh"), Dense(kernel_DE=KERNEL_DE[:9]))
    head = SentenceHead(pooling=pooling, dense=dense)
    vectors_BE = np.tanh(expected(pooling) @ KERNEL_DE + BIAS_E) @ KERNEL_DE[:9]
    vectors_BE /= np.linalg.norm(vectors_BE, axis=-1, keepdims=True)
    np.testing.assert_allclose(embed(tiny.drawn_by_name("encoder", CFG), head, INPUTS_BS), vectors_BE, atol=1e-5)


def test_without_pooling_every_token_has_a_vector():
    model = tiny.drawn_by_name("encoder", CFG)
    plain = embed(model, SentenceHead(pooling="none", normalise=False), INPUTS_BS)
    np.testing.assert_allclose(plain, model(INPUTS_BS), atol=1e-6)
    unit = embed(model, SentenceHead(pooling="none"), INPUTS_BS)
    np.testing.assert_allclose(np.linalg.norm(unit, axis=-1), 1.0, rtol=1e-5)


def test_the_first_dimensions_are_normalised_again_if_all_were():
    vectors = np.random.default_rng(0).normal(size=(2, 5)).astype(np.float32)
    np.testing.assert_array_equal(shortened(vectors, 3, normalise=False), vectors[:, :3])
    short = shortened(vectors, 3, normalise=True)
    np.testing.assert_allclose(short, vectors[:, :3] / np.linalg.norm(vectors[:, :3], axis=1, keepdims=True), rtol=1e-6)
    assert shortened(vectors, None, normalise=True) is vectors
    assert not shortened(np.zeros((1, 4), np.float32), 2, normalise=True).any()


@pytest.mark.parametrize("sizes", [{"data": 1, "fsdp": 8}, {"data": 1, "fsdp": 2, "tensor": 4}])
def test_no_device_of_a_mesh_holds_the_whole_model(sizes):
    cfg = dataclasses.replace(tiny.T5_1_1, emb_dim=64, num_heads=8, mlp_dim=128, num_encoder_layers=12)
    mesh = make_mesh(MeshConfig(**sizes))
    shapes = placed(cfg, mesh, Architecture("encoder"))
    rows = jax.ShapeDtypeStruct((8, 16), np.int32, sharding=batch_sharding(mesh))
    used = embed.lower(shapes, SentenceHead(), rows).compile().memory_analysis()
    num_bytes = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(shapes))
    assert used.argument_size_in_bytes < num_bytes / 6
    assert used.argument_size_in_bytes + used.temp_size_in_bytes < num_bytes / 2


def test_a_head_is_a_pytree_of_its_weights():
    head = SentenceHead(dense=(Dense(kernel_DE=KERNEL_DE, bias_E=BIAS_E),), prompt="q: ")
    assert [leaf.shape for leaf in jax.tree.leaves(head)] == [(CFG.emb_dim, 9), (9,)]
