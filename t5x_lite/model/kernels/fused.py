# SPDX-License-Identifier: Apache-2.0
"""Fused attention on a mesh: each device runs the kernel on its own examples, heads and queries.

Shape letters: B batch, T queries, S keys, N heads, H head, A = N * H, X devices that share the bias, D distances.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from t5x_lite.model.kernels import choice
from t5x_lite.model.kernels.bias_tiles import bias_values
from t5x_lite.model.kernels.choice import TILE
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
    """Returns bias_XND, by distance: a copy for each device that sums a gradient of its own.

    Made before the scan over layers, the copies' gradients are summed over the devices once and not in every layer.
    """
    largest = _kernels().largest_distance(table.cfg.relative_position_max_distance)
    bias_ND = bias_values(table, largest, is_causal=codes.is_causal and not codes.has_prefix)
    copies_XND = jnp.broadcast_to(bias_ND[None], (axis_size(SHARDS), *bias_ND.shape))
    return constrain(copies_XND, SHARDS, "heads", None)


def fused_attention(
    q_BTA, keys_values_BSA, bias_XND, codes: Codes, drop: Callable | None, *, num_heads: int
) -> jax.Array:
    """Returns softmax(q k + bias) v, shaped [B, T, A].

    Args:
      q_BTA: queries, their heads side by side.
      keys_values_BSA: (k_BSA, v_BSA).
      bias_XND: from `shared_bias`, or None without a bias; causal attention has one, which hides later keys.
      codes: from `masks.Visible.codes`.
      drop: dropout function for the weights, or None; all queries of a head share a draw, as in T5.
      num_heads: N.
    """
    (B, T, A), (k_BSA, v_BSA) = q_BTA.shape, keys_values_BSA
    S, H = k_BSA.shape[1], A // num_heads
    if codes.is_causal and bias_XND is None:
        raise ValueError(
            "fused attention is causal and has no bias: pass that of `shared_bias`, which hides later keys"
        )
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
        largest=0 if bias_XND is None else bias_XND.shape[2] // 2,
        interpret=choice.interpreted is not None,
    )
    of_tokens = None if codes.keys_BS is None else (codes.queries_BT, codes.keys_BS)
    operands = q_BTA, (k_BSA, v_BSA), bias_XND, of_tokens
    if jax.sharding.get_abstract_mesh().size <= 1:
        return _on_device(plan, None, *operands)
    heads = _axes("heads") if num_heads % axis_size("heads") == 0 else ()
    batch = _axes("batch") if B % axis_size("batch") == 0 else ()
    tokens = _axes("tokens") if axis_size("tokens") > 1 else ()
    plan = dataclasses.replace(plan, num_queries=T // (axis_size("tokens") if tokens else 1))
    joined, copies = PartitionSpec(batch, tokens, heads), PartitionSpec(_axes(SHARDS), heads)
    rows = None if of_tokens is None else (PartitionSpec(batch, tokens), PartitionSpec(batch))
    return jax.shard_map(
        functools.partial(_on_device, plan, tokens or None),
        in_specs=(joined, (joined, joined), copies, rows),
        out_specs=joined,
        check_vma=False,
    )(*operands)


def _axes(name: str) -> tuple[str, ...]:
    mesh = jax.sharding.get_abstract_mesh()
    return tuple(axis for axis in RULES[name] if axis in mesh.shape)


def _on_device(plan, tokens, q_BTA, keys_values_BSA, bias_XND, codes) -> jax.Array:
    """Runs the kernel on one device, after gathering the keys over the mesh axes `tokens`, if any."""
    offset, (k_BSA, v_BSA) = jnp.zeros((1,), jnp.int32), keys_values_BSA
    if tokens:
        k_BSA, v_BSA = (jax.lax.all_gather(x_BSA, tokens, axis=1, tiled=True) for x_BSA in (k_BSA, v_BSA))
        offset += jax.lax.axis_index(tokens) * (plan.num_queries // TILE)
    bias_ND = None if bias_XND is None else bias_XND[0]
    A = q_BTA.shape[2]
    spare = -A % plan.lanes  # lanes of heads that this device does not hold
    if spare:
        q_BTA, k_BSA, v_BSA = (jnp.pad(x_BTA, ((0, 0), (0, 0), (0, spare))) for x_BTA in (q_BTA, k_BSA, v_BSA))
        if bias_ND is not None:
            bias_ND = jnp.pad(bias_ND, ((0, spare // plan.head_dim), (0, 0)))
    return _kernels().fused(plan, q_BTA, k_BSA, v_BSA, bias_ND, (codes, offset))[:, :, :A]
