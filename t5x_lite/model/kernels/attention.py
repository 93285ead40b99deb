# SPDX-License-Identifier: Apache-2.0
"""Attention with T5's additive bias.

Shape letters: B batch, T queries, S keys, N heads, H head; 1 if broadcast.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from t5x_lite.model.kernels.cpu import is_single_cpu, looped_attention

# T5X's value; finite, so that a fully masked query averages all values instead of returning NaN.
MASKED_LOGIT = -1e10


def dot_product_attention(q_BTNH, k_BSNH, v_BSNH, bias_1NTS=None, mask_B1TS=None, drop=None) -> jax.Array:
    """Returns softmax(q k + bias) v, shaped [B, T, N, H]; logits and softmax are in float32.

    Args:
      q_BTNH: queries.
      k_BSNH: keys.
      v_BSNH: values.
      bias_1NTS: bias to add to the logits, or None.
      mask_B1TS: False where a query may not see a key, or None; B and T may be 1.
      drop: dropout function for the weights, or None.
    """
    if drop is None and is_single_cpu():
        return looped_attention(q_BTNH, k_BSNH, v_BSNH, bias_1NTS, _additive(mask_B1TS, q_BTNH.shape[0]))
    return reference_attention(q_BTNH, k_BSNH, v_BSNH, bias_1NTS, mask_B1TS, drop)


def reference_attention(
    q_BTNH, k_BSNH, v_BSNH, bias_1NTS=None, mask_B1TS=None, drop: Callable[[jax.Array], jax.Array] | None = None
) -> jax.Array:
    """Computes `dot_product_attention` with batched products."""
    weights_BNTS = attention_weights(q_BTNH, k_BSNH, bias_1NTS, mask_B1TS).astype(v_BSNH.dtype)
    if drop is not None:
        weights_BNTS = drop(weights_BNTS)
    return jnp.einsum("BNTS,BSNH->BTNH", weights_BNTS, v_BSNH)


def attention_weights(q_BTNH, k_BSNH, bias_1NTS=None, mask_B1TS=None) -> jax.Array:
    """Returns the softmax of `dot_product_attention`, float32 [B, N, T, S]."""
    logits_BNTS = jnp.einsum("BTNH,BSNH->BNTS", q_BTNH, k_BSNH, preferred_element_type=jnp.float32)
    return biased_softmax(logits_BNTS, bias_1NTS, mask_B1TS)


def biased_softmax(logits_BNTS, bias_1NTS, mask_B1TS) -> jax.Array:
    """Returns the softmax of logits, with an additive bias and a mask, or None."""
    if bias_1NTS is not None:
        logits_BNTS = logits_BNTS + bias_1NTS
    if mask_B1TS is not None:
        logits_BNTS = logits_BNTS + jnp.where(mask_B1TS, 0.0, MASKED_LOGIT)
    return jax.nn.softmax(logits_BNTS)


def _additive(mask_B1TS, batch_size) -> jax.Array | None:
    if mask_B1TS is None:
        return None
    added = jnp.where(mask_B1TS, 0.0, MASKED_LOGIT)
    return jnp.broadcast_to(added, (batch_size, *added.shape[1:]))
