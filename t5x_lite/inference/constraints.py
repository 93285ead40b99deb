# SPDX-License-Identifier: Apache-2.0
"""What may be chosen, and what becomes less probable, given the tokens so far.

Shape letters: B batch, K sequences, T tokens, V vocabulary, N tokens of an n-gram.
"""

import jax
import jax.numpy as jnp

from t5x_lite.inference.filters import MASKED
from t5x_lite.inference.params import NO_ID, Controls, Plan


def constrained(
    logits_BKV: jax.Array, tokens_BKT: jax.Array, count: jax.Array, controls: Controls, plan: Plan
) -> jax.Array:
    """Returns logits with what may not be chosen at MASKED.

    Args:
      logits_BKV: of the next token.
      tokens_BKT: the tokens so far, 0 after them.
      count: how many they are.
      controls: of each example.
      plan: what of it is asked for.
    """
    if plan.repetition:
        logits_BKV = _penalized(logits_BKV, tokens_BKT, controls.repetition_penalty_B)
    logits_BKV = within_vocabulary(logits_BKV, plan.vocab_size)
    if plan.ngram:
        logits_BKV = _without_repeats(logits_BKV, tokens_BKT, count, plan.ngram)
    if controls.banned_BW.shape[1]:
        logits_BKV = _without(logits_BKV, controls.banned_BW)
    if plan.has_min_new:
        too_early_B1 = (count < controls.min_new_B)[:, None]
        logits_BKV = _without(logits_BKV, jnp.where(too_early_B1, controls.stop_BW, NO_ID))
    return logits_BKV


def within_vocabulary(logits_BKV: jax.Array, vocab_size: int | None) -> jax.Array:
    """Returns logits with the rows that pad the embedding at MASKED."""
    V = logits_BKV.shape[-1]
    if vocab_size is None or vocab_size >= V:
        return logits_BKV
    return jnp.where((jnp.arange(V) < vocab_size)[None, None], logits_BKV, MASKED)


def ends(tokens_BK: jax.Array, stop_BW: jax.Array) -> jax.Array:
    """Returns whether each token ends its sequence, [B, K]."""
    return jnp.any(tokens_BK[:, :, None] == stop_BW[:, None], axis=-1)


def forced_token(forced_BF: jax.Array, count: jax.Array) -> jax.Array:
    """Returns the token that has to be chosen, [B], or 0 where any may be."""
    F = forced_BF.shape[1]
    if F == 0:
        return jnp.zeros(forced_BF.shape[0], jnp.int32)
    token_B = jax.lax.dynamic_index_in_dim(forced_BF, jnp.minimum(count, F - 1), axis=1, keepdims=False)
    return jnp.where(count < F, token_B, 0)


def _without(logits_BKV: jax.Array, ids_BW: jax.Array) -> jax.Array:
    """Masks the ids of each example, of which those below 0 say nothing."""
    V = logits_BKV.shape[-1]
    index_BW = jnp.where(ids_BW < 0, V, ids_BW)
    rows_B1 = jnp.arange(len(ids_BW))[:, None]
    return logits_BKV.at[rows_B1, :, index_BW].set(MASKED, mode="drop")


def _penalized(logits_BKV: jax.Array, tokens_BKT: jax.Array, penalty_B: jax.Array) -> jax.Array:
    """As transformers does: the logits of tokens that occurred are divided by the penalty, or multiplied if negative.

    The token that starts a decoder counts as one that occurred.
    """
    B, K, _ = tokens_BKT.shape
    places = (jnp.arange(B)[:, None, None], jnp.arange(K)[None, :, None], tokens_BKT)
    occurred_BKV = jnp.zeros(logits_BKV.shape, bool).at[places].set(True)
    occurred_BKV = occurred_BKV.at[:, :, 0].set(True)
    penalty_B11 = penalty_B[:, None, None]
    penalized_BKV = jnp.where(logits_BKV > 0, logits_BKV / penalty_B11, logits_BKV * penalty_B11)
    return jnp.where(occurred_BKV, penalized_BKV, logits_BKV)


def _without_repeats(logits_BKV: jax.Array, tokens_BKT: jax.Array, count: jax.Array, size: int) -> jax.Array:
    """Masks tokens that would complete an n-gram of `size` that has occurred."""
    B, K, T = tokens_BKT.shape
    if size > T:
        return logits_BKV
    V = logits_BKV.shape[-1]
    starts = jnp.arange(T - size + 1)
    matches_BKT = jnp.broadcast_to(starts + size <= count, (B, K, len(starts)))
    for offset in range(size - 1):
        last_BK = jax.lax.dynamic_index_in_dim(
            tokens_BKT, jnp.maximum(count - size + 1 + offset, 0), axis=2, keepdims=False
        )
        earlier_BKT = jax.lax.slice_in_dim(tokens_BKT, offset, offset + len(starts), axis=2)
        matches_BKT &= earlier_BKT == last_BK[:, :, None]
    completed_BKT = jax.lax.slice_in_dim(tokens_BKT, size - 1, T, axis=2)
    index_BKT = jnp.where(matches_BKT, completed_BKT, V)
    places = (jnp.arange(B)[:, None, None], jnp.arange(K)[None, :, None], index_BKT)
    return logits_BKV.at[places].set(MASKED, mode="drop")
