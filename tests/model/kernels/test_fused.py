"""Tests t5x_lite/model/kernels/fused.py: whole models on eight devices, with the TPU's kernel interpreted."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from t5x_lite.config import MeshConfig, ModelConfig
from t5x_lite.data.shapes import feature_shapes
from t5x_lite.model import masks
from t5x_lite.model.kernels import choice
from t5x_lite.model.kernels.attention import attention, prepare, prepare_bias
from t5x_lite.model.position import RelativePositionBias
from t5x_lite.parallel.mesh import batch_sharding, make_mesh
from t5x_lite.training.program import make_program
from t5x_lite.training.resolve import resolve_run
from tests import runs

VOCAB_ROWS = 384
# With three heads per device, a kernel's block of two heads is half empty.
MESHES = {
    "data, fsdp and tensor": (MeshConfig(data=2, fsdp=2, tensor=2), 150, 40),
    "context": (MeshConfig(data=2, fsdp=2, context=2), 256, 256),
}


def program(mesh, lengths, attention, **model):
    cfg = runs.config("unused", mesh=mesh, num_steps=20, inputs_length=lengths[0])
    sizes = {"num_heads": 6, "head_dim": 64, "num_encoder_layers": 2, "num_decoder_layers": 2, "attention": attention}
    cfg = dataclasses.replace(
        cfg,
        model=dataclasses.replace(cfg.model, **sizes | model),
        train=dataclasses.replace(cfg.train, targets_length=lengths[1], num_microbatches=1),
        # With ten times more, rounding errors grow to 2e-4 in 20 steps, between two meshes of the reference too.
        optimizer=dataclasses.replace(cfg.optimizer, learning_rate=0.002),
    )
    return make_program(resolve_run(cfg), make_mesh(cfg.mesh), VOCAB_ROWS), cfg


def batch(cfg, mesh, step):
    """Random ids, packed or padded."""
    generator, rows = np.random.default_rng(step), {}
    for feature, shape in feature_shapes(resolve_run(cfg).examples).items():
        values = generator.integers(2, VOCAB_ROWS, (cfg.train.batch_size, *shape))
        values[::3, -5:] = 0
        if feature.endswith("segment_ids"):
            values = np.sort(generator.integers(0, 4, values.shape))[:, ::-1]
            values = np.where(values > 0, 4 - values, 0)
        if feature.endswith("weights"):
            values = values > 0
        rows[feature] = values.astype(np.int32)
    return jax.device_put(rows, batch_sharding(mesh))


def losses(name, attention, num_steps, **model):
    mesh_config, *lengths = MESHES[name]
    made, cfg = program(mesh_config, lengths, attention, **model)
    found = []
    with jax.set_mesh(made.mesh):
        state = made.init()
        for step in range(num_steps):
            state, metrics = made.step(state, batch(cfg, made.mesh, step))
            found.append((float(metrics["loss"]), float(metrics["grad_norm"])))
    return found


@pytest.mark.parametrize("mesh", [MeshConfig(data=2, fsdp=2, tensor=2), MeshConfig(data=4, context=2)], ids=str)
def test_a_mesh_changes_neither_values_nor_gradients(mesh, monkeypatch):
    monkeypatch.setattr(choice, "interpreted", "tpu")
    cfg = ModelConfig(num_heads=6, head_dim=64)
    table = RelativePositionBias(cfg, bidirectional=False, rngs=nnx.Rngs(0))
    q_BTA, k_BSA, v_BSA, do_BTA = jax.random.normal(jax.random.key(0), (4, 4, 256, 384))
    segments_BS = jnp.asarray(np.sort(np.random.default_rng(0).integers(1, 4, (4, 256))))
    visible = masks.causal(segments_BS)

    @jax.jit
    def attend(q_BTA, k_BSA, v_BSA, table):
        def run(q_BTA, k_BSA, v_BSA, table):
            seen = prepare(cfg, visible, 4, 256, 256)
            return attention(q_BTA, (k_BSA, v_BSA), prepare_bias(table, seen, 256, 256), seen, num_heads=6)

        out_BTA, pull = jax.vjp(run, q_BTA, k_BSA, v_BSA, table)
        return out_BTA, *pull(do_BTA)

    expected = attend(q_BTA, k_BSA, v_BSA, table)
    with jax.set_mesh(make_mesh(mesh)):
        sharded = jax.jit(attend)(q_BTA, k_BSA, v_BSA, table)
    for actual, wanted in zip(jax.tree.leaves(sharded), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(actual, wanted, atol=1e-5 * np.abs(wanted).max())


@pytest.mark.slow
@pytest.mark.parametrize("name", MESHES)
def test_a_model_trains_as_with_the_reference_dropout_included(name, monkeypatch):
    expected = losses(name, "reference", 20)
    monkeypatch.setattr(choice, "interpreted", "tpu")
    np.testing.assert_allclose(losses(name, "fused", 20), expected, rtol=1e-5)


@pytest.mark.slow
def test_one_step_of_a_model_with_a_table_per_layer_is_that_of_the_reference(monkeypatch):
    sizes = {"relative_bias_per_layer": True, "num_encoder_layers": 1, "num_decoder_layers": 1}
    expected = losses("data, fsdp and tensor", "reference", 1, **sizes)
    monkeypatch.setattr(choice, "interpreted", "tpu")
    np.testing.assert_allclose(losses("data, fsdp and tensor", "fused", 1, **sizes), expected, rtol=1e-5)
