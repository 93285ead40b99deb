# SPDX-License-Identifier: Apache-2.0
"""Attention with T5's additive bias, written as batched products; logits and softmax are in float32.

Shape letters: B batch, T queries, S keys, N heads, H head; 1 if broadcast.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

# T5X's value; finite, so that a fully masked query averages all values instead of returning NaN.
MASKED_LOGIT = -1e10


def reference_attention(
    q_BTNH, k_BSNH, v_BSNH, bias_1NTS=None, mask_B1TS=None, drop: Callable[[jax.Array], jax.Array] | None = None
) -> jax.Array:
    """Returns softmax(q k + bias) v, shaped [B, T, N, H].

    Args:
      q_BTNH: queries.
      k_BSNH: keys.
      v_BSNH: values.
      bias_1NTS: bias to add to the logits, or None.
      mask_B1TS: False where a query may not see a key, or None; B and T may be 1.
      drop: dropout function for the weights, or None.
    """
    weights_BNTS = attention_weights(q_BTNH, k_BSNH, bias_1NTS, mask_B1TS).astype(v_BSNH.dtype)
    if drop is not None:
        weights_BNTS = drop(weights_BNTS)
    return jnp.einsum("BNTS,BSNH->BTNH", weights_BNTS, v_BSNH)


def attention_weights(q_BTNH, k_BSNH, bias_1NTS=None, mask_B1TS=None) -> jax.Array:
    """Returns the weights of `reference_attention`, float32 [B, N, T, S]."""
    logits_BNTS = jnp.einsum("BTNH,BSNH->BNTS", q_BTNH, k_BSNH, preferred_element_type=jnp.float32)
    return biased_softmax(logits_BNTS, bias_1NTS, mask_B1TS)


def biased_softmax(logits_BNTS, bias_1NTS, mask_B1TS) -> jax.Array:
    """Returns the softmax of logits, with an additive bias and a mask, or None."""
    if bias_1NTS is not None:
        logits_BNTS = logits_BNTS + bias_1NTS
    if mask_B1TS is not None:
        logits_BNTS = logits_BNTS + jnp.where(mask_B1TS, 0.0, MASKED_LOGIT)
    return jax.nn.softmax(logits_BNTS)
