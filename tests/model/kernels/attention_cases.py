"""Attention in a fused kernel beside the reference: values, and the gradients of queries, keys, values and table."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from t5x_lite.config import ModelConfig
from t5x_lite.model.kernels.attention import attention, prepare, prepare_bias
from t5x_lite.model.masks import Visible
from t5x_lite.model.position import RelativePositionBias

TOLERANCE = {"float32": 1e-5, "bfloat16": 1e-2}  # of the largest value
NAMES = ("output", "dq", "dk", "dv", "dtable")


class Case(NamedTuple):
    """Sizes and kind: `all`, `causal`, `prefix`, or `cross` without a bias; 0 segments is a single one, padded."""

    num_queries: int
    num_keys: int
    kind: str = "all"
    num_heads: int = 2
    head_dim: int = 64
    segments: int = 0
    batch_size: int = 2


def segments_of(generator, case, length):
    """Ascending segments, then padding, as in packed rows."""
    if not case.segments:
        return np.arange(length)[None] < generator.integers(length // 2, length + 1, (case.batch_size, 1))
    ids = np.sort(generator.integers(0, case.segments + 1, (case.batch_size, length)))[:, ::-1]
    return np.where(ids > 0, case.segments + 1 - ids, 0)


def visible_of(generator, case):
    keys_BS = jnp.asarray(segments_of(generator, case, case.num_keys), jnp.int32)
    if case.kind == "cross":
        queries_BT = jnp.asarray(segments_of(generator, case, case.num_queries), jnp.int32)
        return Visible(keys_BS=keys_BS, queries_BT=queries_BT if case.segments else None)
    prefix_BT = None
    if case.kind == "prefix":
        prefix_BT = jnp.asarray(np.arange(case.num_queries)[None] < generator.integers(1, case.num_queries, (2, 1)))
    queries_BT = keys_BS if case.segments else None
    return Visible(
        keys_BS=keys_BS, queries_BT=queries_BT, prefix_BT=prefix_BT, is_causal=case.kind in ("causal", "prefix")
    )


def both(case, dtype):
    """The results of the fused kernel and of the reference; rows of padded queries, which nobody reads, are zeroed."""
    generator = np.random.default_rng(0)
    B, T, S, A = case.batch_size, case.num_queries, case.num_keys, case.num_heads * case.head_dim

    def normal(*shape):
        return jnp.asarray(generator.normal(size=shape), dtype)

    q, k, v, do = case.head_dim**-0.5 * normal(B, T, A), normal(B, S, A), normal(B, S, A), normal(B, T, A)
    visible = visible_of(generator, case)
    real_BT1 = True if visible.queries_BT is None else (visible.queries_BT > 0)[:, :, None]
    cfg = ModelConfig(num_heads=case.num_heads, head_dim=case.head_dim)
    table = jnp.asarray(generator.normal(size=(case.num_heads, cfg.relative_position_buckets)), jnp.float32)

    # Arguments, not constants, which XLA would fold for a minute.
    def run(implementation, q, k, v, do, table, visible):
        own = dataclasses.replace(cfg, attention=implementation)

        def attend(q, k, v, table):
            seen = prepare(own, visible, B, T, S)
            module = RelativePositionBias(own, bidirectional=case.kind == "all", rngs=nnx.Rngs(0))
            module.table[...] = table
            bias = None if case.kind == "cross" else prepare_bias(module, seen, T, S)
            return jnp.where(real_BT1, attention(q, (k, v), bias, seen, num_heads=case.num_heads), 0)

        out, pull = jax.vjp(attend, q, k, v, table)
        return out, *pull(jnp.where(real_BT1, do, 0))

    run = jax.jit(run, static_argnums=0)
    return tuple(run(implementation, q, k, v, do, table, visible) for implementation in ("fused", "reference"))


def check(case, dtype):
    for name, actual, expected in zip(NAMES, *both(case, dtype), strict=True):
        actual, expected = (np.asarray(array, np.float32) for array in (actual, expected))
        largest = max(np.abs(expected).max(), 1e-30)
        np.testing.assert_allclose(actual / largest, expected / largest, atol=TOLERANCE[dtype], rtol=0, err_msg=name)
