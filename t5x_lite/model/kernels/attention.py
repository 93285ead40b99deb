# SPDX-License-Identifier: Apache-2.0
"""Attention with T5's additive bias: one function for all implementations, which `choice` chooses from.

`seen` says which keys a query sees, in the form of the implementation: `Codes` for a fused one, which never holds
queries x keys, and otherwise a mask. The bias comes in the form that belongs to it.

Shape letters: B batch, T queries, S keys, N heads, H head, A = N * H; 1 if broadcast.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from t5x_lite.config import ModelConfig
from t5x_lite.model.kernels.choice import is_fused
from t5x_lite.model.kernels.cpu import is_single_cpu, looped_attention
from t5x_lite.model.kernels.reference import MASKED_LOGIT, reference_attention
from t5x_lite.model.masks import Codes, Visible
from t5x_lite.model.position import RelativePositionBias

Seen = jax.Array | Codes | None


def prepare(cfg: ModelConfig, visible: Visible, batch_size: int, num_queries: int, num_keys: int) -> Seen:
    """Returns `seen` of `attention`, which also chooses the implementation."""
    if is_fused(cfg, num_queries, num_keys):
        return visible.codes(batch_size, num_queries, num_keys)
    return visible.mask(num_queries)


def prepare_bias(table: RelativePositionBias, seen: Seen, num_queries: int, num_keys: int) -> jax.Array:
    """Returns the bias for `attention` with this `seen`."""
    if not isinstance(seen, Codes):
        return table(num_queries, num_keys)
    from t5x_lite.model.kernels.fused import shared_bias  # not on CPUs: Pallas takes a second to import

    return shared_bias(table, seen)


def attention(
    q_BTA,
    keys_values_BSA,
    bias=None,
    seen: Seen = None,
    drop: Callable[[jax.Array], jax.Array] | None = None,
    *,
    num_heads,
) -> jax.Array:
    """Returns softmax(q k + bias) v, shaped [B, T, A]; logits and softmax are in float32.

    Args:
      q_BTA: queries, their heads side by side.
      keys_values_BSA: (k_BSA, v_BSA).
      bias: from `prepare_bias`, or None.
      seen: from `prepare`, or None if all queries see all keys.
      drop: dropout function for the weights, or None.
      num_heads: N.
    """
    if isinstance(seen, Codes):
        from t5x_lite.model.kernels.fused import fused_attention

        return fused_attention(q_BTA, keys_values_BSA, bias, seen, drop, num_heads=num_heads)
    q_BTNH, k_BSNH, v_BSNH = (x_BTA.reshape(*x_BTA.shape[:2], num_heads, -1) for x_BTA in (q_BTA, *keys_values_BSA))
    return dot_product_attention(q_BTNH, k_BSNH, v_BSNH, bias, seen, drop).reshape(q_BTA.shape)


def dot_product_attention(q_BTNH, k_BSNH, v_BSNH, bias_1NTS=None, mask_B1TS=None, drop=None) -> jax.Array:
    """Returns `reference_attention`, on a single CPU in a loop; arguments as there."""
    if drop is None and is_single_cpu():
        return looped_attention(q_BTNH, k_BSNH, v_BSNH, bias_1NTS, _additive(mask_B1TS, q_BTNH.shape[0]))
    return reference_attention(q_BTNH, k_BSNH, v_BSNH, bias_1NTS, mask_B1TS, drop)


def _additive(mask_B1TS, batch_size) -> jax.Array | None:
    if mask_B1TS is None:
        return None
    added = jnp.where(mask_B1TS, 0.0, MASKED_LOGIT)
    return jnp.broadcast_to(added, (batch_size, *added.shape[1:]))
