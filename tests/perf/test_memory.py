"""Tests t5x_lite/perf/memory.py against what JAX keeps of a traced model."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from t5x_lite.config import MeshConfig
from t5x_lite.model.kernels import choice
from t5x_lite.model.transformer import T5
from t5x_lite.parallel.mesh import make_mesh
from t5x_lite.perf.memory import Lengths, activation_bytes, logit_bytes
from tests import tiny

ROWS, S, T = 8, tiny.S, tiny.T
WHOLE = {"context": 1, "tensor": 1}


def kept_bytes(cfg):
    """The bytes of all arrays with a layer and a row that a forward pass on a mesh leaves for the backward pass."""
    model = jax.eval_shape(lambda: T5(cfg, rngs=nnx.Rngs(0)))
    inputs, targets = (jax.ShapeDtypeStruct((ROWS, length), jnp.int32) for length in (S, T))
    with jax.set_mesh(make_mesh(MeshConfig())):
        kept = jax.eval_shape(
            lambda model, *ids: jax.vjp(lambda model: model.hidden(*ids), model)[1], model, inputs, targets
        )
    stacks = {(cfg.num_encoder_layers, ROWS), (cfg.num_decoder_layers, ROWS)}
    leaves = [leaf for leaf in jax.tree.leaves(kept) if leaf.shape[:2] in stacks and leaf.ndim > 2]
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in leaves)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("remat", ["none", "minimal", "full", ("query", "mlp_wi_1")], ids=str)
def test_the_saved_bytes_are_those_that_jax_saves(remat, dtype):
    cfg = dataclasses.replace(tiny.T5_1_1, remat=remat, dtype=dtype)
    assert activation_bytes(cfg, Lengths(ROWS, S, T), WHOLE) == kept_bytes(cfg)


@pytest.mark.parametrize("remat", ["none", "minimal"])
def test_fused_attention_saves_no_weights(remat, monkeypatch):
    monkeypatch.setattr(choice, "interpreted", "tpu")
    cfg = dataclasses.replace(tiny.T5_1_1, remat=remat, attention="fused", num_heads=2, head_dim=64)
    assert activation_bytes(cfg, Lengths(ROWS, S, T), WHOLE) == kept_bytes(cfg)


def test_each_remat_keeps_less():
    kept = [
        activation_bytes(dataclasses.replace(tiny.T5_1_1, remat=remat), Lengths(ROWS, S, T), WHOLE)
        for remat in ("none", "minimal", ("query",), "full")
    ]
    assert kept == sorted(kept, reverse=True)
    assert len(set(kept)) == 4


def test_full_saves_each_devices_shard_of_the_residual_stream():
    cfg = dataclasses.replace(tiny.T5_1_1, remat="full")
    whole, part = (activation_bytes(cfg, Lengths(ROWS, 16, 8), parts) for parts in (WHOLE, {"context": 2, "tensor": 4}))
    assert whole == 8 * part


def test_a_model_with_one_stack_only_saves_its_activations():
    cfg = dataclasses.replace(tiny.T5_1_1, remat="full")
    assert activation_bytes(cfg, Lengths(ROWS, 0, T), WHOLE) == 4 * ROWS * T * 20 * 4
    assert activation_bytes(cfg, Lengths(ROWS, S, 0), WHOLE) == 2 * ROWS * S * 20 * 4


def test_the_logits_are_those_of_a_chunk():
    cfg = dataclasses.replace(tiny.T5_1_1, dtype="bfloat16")
    assert logit_bytes(cfg, Lengths(ROWS, S, T), WHOLE) == ROWS * T * 128 * (4 + 2)
    many = Lengths(2**16, S, T)
    assert logit_bytes(cfg, many, WHOLE) < 0.6 * many.sequences * T * 128 * (4 + 2)
