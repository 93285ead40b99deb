"""Tests t5x_lite/model/kernels/gpu.py"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from t5x_lite.config import MeshConfig, ModelConfig
from t5x_lite.model.kernels import choice
from t5x_lite.model.kernels.attention import attention, prepare, prepare_bias
from t5x_lite.model.kernels.gpu import Plan
from t5x_lite.model.kernels.reference import reference_attention
from t5x_lite.model.masks import Codes, Visible, causal, padded
from t5x_lite.model.position import RelativePositionBias
from t5x_lite.parallel.mesh import make_mesh

B, N, H = 2, 3, 16
RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _kernels_for_gpus(monkeypatch):
    monkeypatch.setattr(choice, "interpreted", "gpu")


def segments(length, *lengths):
    """Returns segments_BS, rows of which hold examples of these lengths, and then padding."""
    numbers = np.repeat(np.arange(len(lengths)) + 1, lengths)
    row = np.pad(numbers, (0, length - len(numbers)))
    return jnp.asarray(np.stack([row, np.minimum(row, 1)]))


def tokens(length, *lengths):
    """Returns tokens_BS, of which the first are real and 0 is padding."""
    return jnp.asarray(np.arange(length)[None] < np.array(lengths)[:, None]).astype(jnp.int32)


CASES = {  # what is visible, the numbers of queries and keys, and whether there is a bias
    "both ways": (padded(tokens(200, 200, 190), 0), 200, 200, True),
    "causal": (causal(), 200, 200, True),
    "cross, and an example without keys": (padded(tokens(150, 70, 0), 0), 114, 150, False),
    "prefix": (causal(segments(200, 90, 100), tokens(200, 60, 150)), 200, 200, True),
    "packed": (padded(tokens(264, 1), 0, segments(264, 30, 110, 100)), 264, 264, True),
    "packed, causal": (causal(segments(114, 30, 70)), 114, 114, True),
}


def drawn(num_queries, num_keys, dtype, *, num_heads=N):
    """Returns q_BTA, k_BSA, v_BSA and the gradient of the output."""
    sizes = (num_queries, num_keys, num_keys, num_queries)
    q_BTA, *rest = (jnp.asarray(RNG.normal(size=(B, size, num_heads * H)), dtype) for size in sizes)
    return q_BTA * H**-0.5, *rest


def table_of(visible, cfg):
    table = RelativePositionBias(cfg, bidirectional=not visible.is_causal, rngs=nnx.Rngs(0))
    table.table[...] = jnp.asarray(RNG.normal(size=table.table.shape), jnp.float32)
    return table


def config(num_heads=N):
    return ModelConfig(num_heads=num_heads, head_dim=H, attention="fused")


def values_and_gradients(function, visible, arrays):
    """Returns the output and the gradients of q, k, v and the table, without what padded queries get."""
    *inputs, table, dout_BTA = arrays
    real_BT1 = 1 if visible.queries_BT is None else (visible.queries_BT > 0)[..., None]

    @jax.jit
    def run(inputs, table, dout_BTA):
        out_BTA, transposed = jax.vjp(function, *inputs, table)
        return out_BTA * real_BT1, *transposed(dout_BTA * jnp.asarray(real_BT1, dout_BTA.dtype))

    return run(inputs, table, dout_BTA)


def fused(visible: Visible, cfg, num_queries, num_keys, *, with_bias=True):
    def function(q_BTA, k_BSA, v_BSA, table):
        seen = prepare(cfg, visible, B, num_queries, num_keys)
        assert isinstance(seen, Codes)
        bias = prepare_bias(table, seen, num_queries, num_keys) if with_bias else None
        return attention(q_BTA, (k_BSA, v_BSA), bias, seen, num_heads=cfg.num_heads)

    return function


def reference(visible: Visible, cfg, num_queries, num_keys, *, with_bias=True):
    def function(q_BTA, k_BSA, v_BSA, table):
        q_BTNH, k_BSNH, v_BSNH = (x_BTA.reshape(*x_BTA.shape[:2], cfg.num_heads, -1) for x_BTA in (q_BTA, k_BSA, v_BSA))
        bias_1NTS = table(num_queries, num_keys) if with_bias else None
        return reference_attention(q_BTNH, k_BSNH, v_BSNH, bias_1NTS, visible.mask(num_queries)).reshape(q_BTA.shape)

    return function


def assert_close(actual, expected, tolerance):
    """Compares leaf by leaf, relative to the largest."""
    for one, other in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        one, other = np.asarray(one, np.float64), np.asarray(other, np.float64)
        np.testing.assert_allclose(one, other, rtol=0, atol=tolerance * max(np.abs(other).max(), 1e-30))


def both(name, dtype):
    """Returns a function for the fused attention's output and gradients in a case, and those of the reference."""
    visible, num_queries, num_keys, with_bias = CASES[name]
    *inputs, dout_BTA = drawn(num_queries, num_keys, dtype)
    arrays = *inputs, table_of(visible, config()), dout_BTA
    actual, expected = (
        functools.partial(values_and_gradients, make(visible, config(), num_queries, num_keys, with_bias=with_bias))
        for make in (fused, reference)
    )
    return lambda: actual(visible, arrays), expected(visible, arrays)


@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients_are_those_of_the_reference(name):
    actual, expected = both(name, jnp.float32)
    assert_close(actual(), expected, 1e-5)


@pytest.mark.parametrize("name", ["packed, causal", "cross, and an example without keys"])
def test_bfloat16_is_kept_and_the_same_in_every_run(name):
    actual, expected = both(name, jnp.bfloat16)
    first = actual()
    jax.tree.map(np.testing.assert_array_equal, first, actual())
    assert [leaf.dtype for leaf in jax.tree.leaves(first)] == [jnp.bfloat16] * 4 + [jnp.float32]
    assert_close(first, expected, 1e-2)


def test_each_device_of_a_mesh_runs_it_on_its_own_examples_heads_and_queries():
    cfg, length = config(num_heads=2), 256
    visible = causal(segments(length, 100, 156), tokens(length, 60, 200))
    *inputs, dout_BTA = drawn(length, length, jnp.float32, num_heads=2)
    arrays = *inputs, table_of(visible, cfg), dout_BTA
    expected = values_and_gradients(reference(visible, cfg, length, length), visible, arrays)
    with jax.set_mesh(make_mesh(MeshConfig(data=2, fsdp=1, context=2, tensor=2))):
        actual = values_and_gradients(fused(visible, cfg, length, length), visible, arrays)
    assert_close(actual, expected, 1e-5)


@pytest.mark.parametrize("head_dim", [8, 48, 512])
def test_heads_of_other_sizes_than_its_products_take_are_refused(head_dim):
    cfg = dataclasses.replace(config(), head_dim=head_dim)
    with pytest.raises(ValueError, match=f"head_dim is {head_dim}"):
        choice.is_fused(cfg, 64, 64)


def test_any_number_of_keys_is_fused():
    assert choice.is_fused(config(), 2**20, 2**20)


@pytest.mark.parametrize("block", [16, 32, 64])
@pytest.mark.parametrize("max_distance", [1, 20, 64, 65, 128, 200])
def test_the_bias_is_constant_beyond_the_diagonals(max_distance, block):
    plan = Plan(
        num_queries=512,
        num_keys=512,
        head_dim=H,
        has_codes=False,
        has_prefix=False,
        is_causal=False,
        largest=max_distance,
        interpret=True,
    )
    farthest = plan.diagonals(block).stop
    assert farthest * block - (block - 1) >= max_distance
    assert (farthest - 1) * block - (block - 1) < max_distance
