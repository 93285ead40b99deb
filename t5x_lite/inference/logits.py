# SPDX-License-Identifier: Apache-2.0
"""Logits processors: constraints on the next token, and the top-k, top-p and min-p filters of sampling.

A masked token has the logit MASKED; only the repetition penalty changes other logits. The filters have per-example
limits, and also keep tokens that tie with the least probable one kept.

Shape letters: B batch, K sequences per example, T tokens, V vocabulary, W ids in a list.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from t5x_lite.inference.params import NO_ID, DecodeSpec, SamplingParams

MASKED = -1e10  # as in T5X; finite, so that a softmax over only masked logits is not NaN


def constrain(
    logits_BKV: jax.Array, tokens_BKT: jax.Array, count: jax.Array, params: SamplingParams, spec: DecodeSpec
) -> jax.Array:
    """Penalises repeated tokens and masks disallowed ones; `tokens_BKT` holds `count` tokens followed by padding."""
    if spec.has_repetition_penalty:
        logits_BKV = _penalize_repetition(logits_BKV, tokens_BKT, count, params.repetition_penalty_B, spec.start_id)
    logits_BKV = mask_padding_rows(logits_BKV, spec.vocab_size)
    if spec.no_repeat_ngram_size and params.no_repeat_ngram_size_B is None:
        logits_BKV = _mask_repeated_ngrams(logits_BKV, tokens_BKT, count, spec.no_repeat_ngram_size)
    elif spec.no_repeat_ngram_size:
        sizes_B, largest = params.no_repeat_ngram_size_B, spec.no_repeat_ngram_size
        logits_BKV = _mask_repeated_ngrams_up_to(logits_BKV, tokens_BKT, count, sizes_B, largest)
    if params.banned_BW.shape[1]:
        logits_BKV = _mask_ids(logits_BKV, params.banned_BW)
    if spec.has_min_new:
        too_early_B1 = (count < params.min_new_B)[:, None]
        logits_BKV = _mask_ids(logits_BKV, jnp.where(too_early_B1, params.stop_BW, NO_ID))
    return logits_BKV


def mask_padding_rows(logits_BKV: jax.Array, vocab_size: int | None) -> jax.Array:
    """Masks the ids beyond the tokenizer's, whose embedding rows are padding."""
    V = logits_BKV.shape[-1]
    if vocab_size is None or vocab_size >= V:
        return logits_BKV
    return jnp.where((jnp.arange(V) < vocab_size)[None, None], logits_BKV, MASKED)


def is_stop_token(tokens_BK: jax.Array, stop_BW: jax.Array) -> jax.Array:
    """Returns whether each token ends its sequence, [B, K]."""
    return jnp.any(tokens_BK[:, :, None] == stop_BW[:, None], axis=-1)


def forced_token(forced_BF: jax.Array, count: jax.Array) -> jax.Array:
    """Returns the next token of each example's forced prefix, [B]; NO_ID after the prefix."""
    F = forced_BF.shape[1]
    if F == 0:
        return jnp.full(forced_BF.shape[0], NO_ID, jnp.int32)
    token_B = jax.lax.dynamic_index_in_dim(forced_BF, jnp.minimum(count, F - 1), axis=1, keepdims=False)
    return jnp.where(count < F, token_B, NO_ID)


def keep_top_k(logits_BKV: jax.Array, top_k_B: jax.Array) -> jax.Array:
    """Keeps the k most probable tokens; k = 0 keeps all.

    A binary search over the bits of the threshold takes 1 ms for 8 x 32,128 logits on two CPU cores, whatever k is;
    `jax.lax.top_k` takes 0.5 for k = 64, 3 for 1,024 and 35 for all.
    """

    def is_enough(kept_BKV: jax.Array) -> jax.Array:
        return jnp.sum(kept_BKV, axis=-1, dtype=jnp.int32) >= top_k_B[:, None]

    kept_BKV = _fewest_highest(_ordered_bits(logits_BKV), is_enough) | (top_k_B == 0)[:, None, None]
    return jnp.where(kept_BKV, logits_BKV, MASKED)


def keep_top_p(logits_BKV: jax.Array, top_p_B: jax.Array) -> jax.Array:
    """Keeps the smallest set of most probable tokens whose probabilities sum to at least p; p = 1 keeps all tokens.

    A binary search over the bits of the threshold takes 3 ms for 8 x 32,128 logits on two CPU cores; sorting takes 90.
    """
    exp_BKV = jnp.exp(logits_BKV - jnp.max(logits_BKV, axis=-1, keepdims=True))
    wanted_BK = top_p_B[:, None] * jnp.sum(exp_BKV, axis=-1)

    def is_enough(kept_BKV: jax.Array) -> jax.Array:
        return jnp.sum(jnp.where(kept_BKV, exp_BKV, 0.0), axis=-1) >= wanted_BK

    # Non-negative floats sort like their bit patterns.
    bits_BKV = jax.lax.bitcast_convert_type(exp_BKV, jnp.uint32)
    kept_BKV = _fewest_highest(bits_BKV, is_enough) | (top_p_B >= 1)[:, None, None]
    return jnp.where(kept_BKV, logits_BKV, MASKED)


def keep_min_p(logits_BKV: jax.Array, min_p_B: jax.Array) -> jax.Array:
    """Keeps tokens at least p times as probable as the most probable one; p = 0 keeps all tokens."""
    highest_BK1 = jnp.max(logits_BKV, axis=-1, keepdims=True)
    return jnp.where(logits_BKV >= highest_BK1 + jnp.log(min_p_B)[:, None, None], logits_BKV, MASKED)


def _fewest_highest(bits_BKV: jax.Array, is_enough: Callable[[jax.Array], jax.Array]) -> jax.Array:
    """Returns which values, unsigned integers, are at least the highest threshold that keeps enough of them."""

    def with_bit(index: jax.Array, threshold_BK: jax.Array) -> jax.Array:
        higher_BK = threshold_BK | jnp.uint32(1) << (31 - index).astype(jnp.uint32)
        return jnp.where(is_enough(bits_BKV >= higher_BK[:, :, None]), higher_BK, threshold_BK)

    threshold_BK = jax.lax.fori_loop(0, 32, with_bit, jnp.zeros(bits_BKV.shape[:2], jnp.uint32))
    return bits_BKV >= threshold_BK[:, :, None]


def _ordered_bits(values: jax.Array) -> jax.Array:
    """Returns unsigned integers that sort like float32 values."""
    bits = jax.lax.bitcast_convert_type(jnp.where(values == 0, 0.0, values), jnp.int32)  # -0.0 equals 0.0
    # Negative floats sort the wrong way round, and before positive ones only when signed.
    signed = bits ^ ((bits >> 31) & 0x7FFFFFFF)
    return jax.lax.bitcast_convert_type(signed, jnp.uint32) ^ jnp.uint32(1 << 31)


def _mask_ids(logits_BKV: jax.Array, ids_BW: jax.Array) -> jax.Array:
    """Masks a list of ids per example; negative ids are ignored."""
    V = logits_BKV.shape[-1]
    index_BW = jnp.where(ids_BW < 0, V, ids_BW)
    rows_B1 = jnp.arange(len(ids_BW))[:, None]
    return logits_BKV.at[rows_B1, :, index_BW].set(MASKED, mode="drop")


def _penalize_repetition(
    logits_BKV: jax.Array, tokens_BKT: jax.Array, count: jax.Array, penalty_B: jax.Array, start_id: int
) -> jax.Array:
    """Divides positive logits of previous tokens by the penalty and multiplies negative ones by it.

    As in transformers, the decoder's start token counts as a previous token.
    """
    B, K, T = tokens_BKT.shape
    index_BKT = jnp.where((jnp.arange(T) < count)[None, None], tokens_BKT, start_id)
    positions = (jnp.arange(B)[:, None, None], jnp.arange(K)[None, :, None], index_BKT)
    occurred_BKV = jnp.zeros(logits_BKV.shape, bool).at[positions].set(True)
    occurred_BKV = occurred_BKV.at[:, :, start_id].set(True)
    penalty_B11 = penalty_B[:, None, None]
    penalized_BKV = jnp.where(logits_BKV > 0, logits_BKV / penalty_B11, logits_BKV * penalty_B11)
    return jnp.where(occurred_BKV, penalized_BKV, logits_BKV)


def _mask_repeated_ngrams(logits_BKV: jax.Array, tokens_BKT: jax.Array, count: jax.Array, size: int) -> jax.Array:
    """Masks tokens that would complete an n-gram of this size a second time."""
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
    positions = (jnp.arange(B)[:, None, None], jnp.arange(K)[None, :, None], index_BKT)
    return logits_BKV.at[positions].set(MASKED, mode="drop")


def _mask_repeated_ngrams_up_to(
    logits_BKV: jax.Array, tokens_BKT: jax.Array, count: jax.Array, sizes_B: jax.Array, largest: int
) -> jax.Array:
    """Masks tokens that would complete an n-gram of each example's own size a second time; 0 masks none."""
    B, K, T = tokens_BKT.shape
    V = logits_BKV.shape[-1]
    ends = jnp.arange(T)
    sizes_B1 = sizes_B[:, None]
    complete_BT = (ends < count)[None] & (ends[None] + 1 >= sizes_B1) & (sizes_B1 > 0)
    matches_BKT = jnp.broadcast_to(complete_BT[:, None], (B, K, T))
    for offset in range(1, min(largest, T)):
        last_BK = jax.lax.dynamic_index_in_dim(tokens_BKT, jnp.maximum(count - offset, 0), axis=2, keepdims=False)
        earlier_BKT = jnp.pad(tokens_BKT[:, :, : T - offset], ((0, 0), (0, 0), (offset, 0)))
        matches_BKT &= (earlier_BKT == last_BK[:, :, None]) | (offset >= sizes_B)[:, None, None]
    index_BKT = jnp.where(matches_BKT, tokens_BKT, V)
    positions = (jnp.arange(B)[:, None, None], jnp.arange(K)[None, :, None], index_BKT)
    return logits_BKV.at[positions].set(MASKED, mode="drop")
