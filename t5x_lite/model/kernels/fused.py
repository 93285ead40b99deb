# SPDX-License-Identifier: Apache-2.0
"""Fused attention on a mesh: each device runs the kernel on its own examples, heads and queries.

Shape letters: B batch, T queries, S keys, N heads, H head, A = N * H, X devices that share the bias, K bias tiles or
distances (tiles have two more dimensions).
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from t5x_lite.model.kernels import choice
from t5x_lite.model.kernels.bias_tiles import TILE, bias_tiles, bias_values
from t5x_lite.model.masks import Codes
from t5x_lite.model.position import RelativePositionBias
from t5x_lite.parallel.rules import RULES, axis_size, constrain

SHARDS = "bias_copies"


def _kernels() -> Any:
    """Returns the module with the platform's kernel; importing the others would take time."""
    if choice.platform() == "gpu":
        from t5x_lite.model.kernels import gpu

        return gpu
    from t5x_lite.model.kernels import tpu

    return tpu


def shared_bias(table: RelativePositionBias, codes: Codes) -> jax.Array:
    """Returns bias_XNK, a copy for each device that sums a gradient of its own: tiles for TPUs, values for GPUs.

    Made before the scan over layers, the copies' gradients are summed over the devices once and not in every layer.
    """
    is_causal = codes.is_causal and not codes.has_prefix
    if choice.platform() == "gpu":
        bias_NK = bias_values(table, table.cfg.relative_position_max_distance, is_causal=is_causal)
    else:
        bias_NK = bias_tiles(table, is_causal=is_causal)
    copies_XNK = jnp.broadcast_to(bias_NK[None], (axis_size(SHARDS), *bias_NK.shape))
    return constrain(copies_XNK, SHARDS, "heads", *(None,) * (bias_NK.ndim - 1))


def fused_attention(q_BTA, k_BSA, v_BSA, bias_XNK, codes: Codes, drop: Callable | None, *, num_heads: int) -> jax.Array:
    """Returns softmax(q k + bias) v, shaped [B, T, A].

    Args:
      q_BTA: queries, their heads side by side.
      k_BSA: keys.
      v_BSA: values.
      bias_XNK: from `shared_bias`, or None without a bias.
      codes: from `masks.Visible.codes`.
      drop: dropout function for the weights, or None; all queries of a head share a draw, as in T5.
      num_heads: N.
    """
    B, T, A = q_BTA.shape
    S, H = k_BSA.shape[1], A // num_heads
    if drop is not None:  # of weights whose draw the queries share, so that it may as well scale the values
        kept_BN1S = drop(jnp.ones((B, num_heads, 1, S), v_BSA.dtype))
        v_BSA = v_BSA * jnp.repeat(jnp.swapaxes(kept_BN1S[:, :, 0], 1, 2), H, axis=2)
    plan = _kernels().Plan(
        num_queries=T,
        num_keys=S,
        head_dim=H,
        has_codes=codes.keys_BS is not None,
        has_prefix=codes.has_prefix,
        is_causal=codes.is_causal and not codes.has_prefix,
        reach=0 if bias_XNK is None else bias_XNK.shape[2] // 2,
        interpret=choice.interpreted is not None,
    )
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.size <= 1:
        return _on_device(plan, None, q_BTA, k_BSA, v_BSA, bias_XNK, codes.queries_BT, codes.keys_BS)
    heads = _axes("heads") if num_heads % axis_size("heads") == 0 else ()
    batch = _axes("batch") if B % axis_size("batch") == 0 else ()
    tokens = _axes("tokens") if axis_size("tokens") > 1 else ()
    plan = dataclasses.replace(plan, num_queries=T // (axis_size("tokens") if tokens else 1))
    joined, rows = PartitionSpec(batch, tokens, heads), PartitionSpec(batch, tokens)
    tiles = PartitionSpec(_axes(SHARDS), heads)
    return jax.shard_map(
        functools.partial(_on_device, plan, tokens or None),
        in_specs=(joined, joined, joined, tiles, rows, PartitionSpec(batch)),
        out_specs=joined,
        check_vma=False,
    )(q_BTA, k_BSA, v_BSA, bias_XNK, codes.queries_BT, codes.keys_BS)


def _axes(name: str) -> tuple[str, ...]:
    mesh = jax.sharding.get_abstract_mesh()
    return tuple(axis for axis in RULES[name] if axis in mesh.shape)


def _on_device(plan, tokens, q_BTA, k_BSA, v_BSA, bias_XNK, codes_BT, codes_BS) -> jax.Array:
    """Runs the kernel on one device, after gathering the keys over the mesh axes `tokens`, if any."""
    offset = jnp.zeros((1,), jnp.int32)
    if tokens:
        k_BSA, v_BSA = (jax.lax.all_gather(x_BSA, tokens, axis=1, tiled=True) for x_BSA in (k_BSA, v_BSA))
        offset += jax.lax.axis_index(tokens) * (plan.num_queries // TILE)
    bias_NK = None if bias_XNK is None else bias_XNK[0]
    A = q_BTA.shape[2]
    spare = -A % plan.lanes  # lanes of heads that this device does not hold
    if spare:
        q_BTA, k_BSA, v_BSA = (jnp.pad(x_BTA, ((0, 0), (0, 0), (0, spare))) for x_BTA in (q_BTA, k_BSA, v_BSA))
        if bias_NK is not None:
            bias_NK = jnp.pad(bias_NK, ((0, spare // plan.head_dim), *((0, 0),) * (bias_NK.ndim - 1)))
    codes = None if codes_BS is None else (codes_BT, codes_BS)
    return _kernels().fused(plan, q_BTA, k_BSA, v_BSA, bias_NK, codes, offset)[:, :, :A]
