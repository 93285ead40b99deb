"""Tests t5x_lite/model/kernels/cpu.py"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t5x_lite.config import MeshConfig
from t5x_lite.model.kernels import choice
from t5x_lite.model.kernels.attention import dot_product_attention
from t5x_lite.model.kernels.cpu import looped_attention
from t5x_lite.model.kernels.reference import reference_attention
from t5x_lite.parallel.mesh import make_mesh
from tests.model.kernels.test_attention import B, H, N, S, T, mask, normal, queries_keys_values


@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("mask_B1TS", [None, mask(), mask()[:1, :, :1]], ids=["none", "full", "shared"])
def test_the_loop_has_the_values_and_gradients_of_the_reference(with_bias, mask_B1TS):
    arrays = {"qkv": queries_keys_values(), "bias": normal(3, 1, N, T, S) if with_bias else None}
    out_BTNH = normal(4, B, T, N, H)

    def loss(attention):
        return lambda arrays: jnp.sum(attention(*arrays["qkv"], arrays["bias"], mask_B1TS) * out_BTNH)

    assert "while" in jax.jit(loss(dot_product_attention)).lower(arrays).as_text()  # the loop was picked
    actual, expected = (
        jax.jit(jax.value_and_grad(loss(attention)))(arrays)
        for attention in (dot_product_attention, reference_attention)
    )
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5), actual, expected)


def test_the_loop_keeps_bfloat16_and_approximates_the_reference():
    arrays = [array.astype(jnp.bfloat16) for array in queries_keys_values()]
    looped, expected = looped_attention(*arrays, None, None), reference_attention(*arrays)
    assert looped.dtype == jnp.bfloat16
    np.testing.assert_allclose(looped.astype(np.float32), expected.astype(np.float32), atol=0.03)
    grads = jax.grad(lambda q: looped_attention(q, *arrays[1:], None, None).astype(jnp.float32).sum())(arrays[0])
    assert grads.dtype == jnp.bfloat16


def test_a_sharded_batch_is_not_looped_over():
    with jax.set_mesh(make_mesh(MeshConfig())):
        program = jax.jit(dot_product_attention).lower(*queries_keys_values()).as_text()
    assert "while" not in program


def test_a_program_for_another_platform_has_no_loop(monkeypatch):
    monkeypatch.setattr(choice, "interpreted", "gpu")
    assert "while" not in jax.jit(dot_product_attention).lower(*queries_keys_values()).as_text()
