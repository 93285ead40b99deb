# SPDX-License-Identifier: Apache-2.0
"""Beam search as in T5X and as in transformers.

Both extend the K best unfinished (live) sequences and keep the K best finished ones. They differ in the length penalty,
the candidates that may finish, the stopping rule, and the treatment of live sequences at the length limit.

Sources: T5X `decoding.py`; transformers `generation/utils.py` with its defaults (`early_stopping` off).

Shape letters: B batch, K beams, J = 2 K candidates, T new tokens, V vocabulary, N blocks of W logits.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from t5x_lite.inference.logits import constrain, forced_token, is_stop_token
from t5x_lite.inference.params import DecodeSpec, SamplingParams
from t5x_lite.inference.sampling import BLOCK, Step

IMPOSSIBLE = -1e7  # T5X's lowest score
UNUSED = -jnp.inf  # below every score, for slots beyond an example's own number of beams


class Beams(NamedTuple):
    """Search state; live and finished sequences are both sorted, best first."""

    live_tokens_BKT: jax.Array
    live_log_probs_BK: jax.Array  # summed over tokens
    finished_tokens_BKT: jax.Array
    finished_scores_BK: jax.Array
    is_finished_BK: jax.Array  # whether the slot holds a finished sequence yet
    last_BK: jax.Array  # last tokens of the live sequences
    over_B: jax.Array  # whether the example's search is over
    count: jax.Array  # scalar: steps so far
    cache: Any


class _Candidates(NamedTuple):
    tokens_BJT: jax.Array
    log_probs_BJ: jax.Array
    parents_BJ: jax.Array
    stops_BJ: jax.Array


def start(first_B: jax.Array, cache: Any, spec: DecodeSpec) -> Beams:
    """Returns the initial state; `first_B` holds each example's first decoder input."""
    B, K, T = len(first_B), spec.num_sequences, spec.num_steps
    empty_BKT = jnp.full((B, K, T), spec.pad_id, jnp.int32)
    # All beams are equal at first, so only one may be extended.
    live_K = jnp.where(jnp.arange(K) == 0, 0.0, IMPOSSIBLE)
    return Beams(
        live_tokens_BKT=empty_BKT,
        live_log_probs_BK=jnp.broadcast_to(live_K, (B, K)),
        finished_tokens_BKT=empty_BKT,
        finished_scores_BK=jnp.full((B, K), IMPOSSIBLE),
        is_finished_BK=jnp.zeros((B, K), bool),
        last_BK=jnp.broadcast_to(first_B[:, None], (B, K)).astype(jnp.int32),
        over_B=jnp.zeros(B, bool),
        count=jnp.zeros((), jnp.int32),
        cache=cache,
    )


def advance(step: Step, beams: Beams, params: SamplingParams, spec: DecodeSpec, until: jax.Array) -> Beams:
    """Searches until all examples are done or have `until` tokens; the cache must implement `reorder`."""

    def has_more(beams: Beams) -> jax.Array:
        return (beams.count < jnp.minimum(until, spec.num_steps)) & ~jnp.all(beams.over_B)

    def extend(beams: Beams) -> Beams:
        logits_BKV, cache = step(beams.last_BK, beams.cache)
        return _extend(beams._replace(cache=cache), logits_BKV, params, spec)

    return jax.lax.while_loop(has_more, extend, beams)


def best(beams: Beams, spec: DecodeSpec) -> tuple[jax.Array, jax.Array]:
    """Returns tokens_BKT with EOS and scores_BK, best first: finished sequences, or live ones if none finished."""
    if spec.beam_variant == "hf":  # finishes all sequences at the length limit
        return beams.finished_tokens_BKT, beams.finished_scores_BK
    any_B1 = jnp.any(beams.is_finished_BK, axis=1)[:, None]
    tokens_BKT = jnp.where(any_B1[:, :, None], beams.finished_tokens_BKT, beams.live_tokens_BKT)
    return tokens_BKT, jnp.where(any_B1, beams.finished_scores_BK, beams.live_log_probs_BK)


def length_penalty(length: jax.Array, exponent_B: jax.Array, spec: DecodeSpec) -> jax.Array:
    """Returns the divisor of a sequence's log-probability, [B, 1]."""
    base = jnp.asarray(length, jnp.float32) if spec.beam_variant == "hf" else (5 + length) / 6
    return jnp.power(base, exponent_B)[:, None]


def _extend(beams: Beams, logits_BKV: jax.Array, params: SamplingParams, spec: DecodeSpec) -> Beams:
    count = beams.count
    candidates = _best_candidates(beams, logits_BKV, params, spec)
    at_limit_B1 = (count + 1 >= params.max_new_B)[:, None]
    finishes_BJ = candidates.stops_BJ
    if spec.beam_variant == "hf":
        finishes_BJ = candidates.stops_BJ | at_limit_B1
    live_BJ = jnp.where(finishes_BJ, candidates.log_probs_BJ + IMPOSSIBLE, candidates.log_probs_BJ)
    live_log_probs_BK, index_BK = jax.lax.top_k(live_BJ, spec.num_sequences)
    live_tokens_BKT = _take_rows(candidates.tokens_BJT, index_BK)
    parents_BK = jnp.take_along_axis(candidates.parents_BJ, index_BK, axis=1)
    if spec.beam_variant == "hf":  # only the best K candidates may finish
        num_beams_B1 = spec.num_sequences if params.num_beams_B is None else params.num_beams_B[:, None]
        finishes_BJ &= jnp.arange(finishes_BJ.shape[1])[None] < num_beams_B1
    extended = beams._replace(
        live_tokens_BKT=live_tokens_BKT,
        live_log_probs_BK=live_log_probs_BK,
        last_BK=jax.lax.dynamic_index_in_dim(live_tokens_BKT, count, axis=2, keepdims=False),
    )
    extended = _add_finished(extended, candidates, finishes_BJ, params, spec)
    over_B = beams.over_B | at_limit_B1[:, 0] | _is_decided(extended, params, spec)
    kept = _select(beams.over_B, beams, extended)
    return kept._replace(over_B=over_B, count=count + 1, cache=beams.cache.reorder(parents_BK))


def _best_candidates(beams: Beams, logits_BKV: jax.Array, params: SamplingParams, spec: DecodeSpec) -> _Candidates:
    """Returns the 2 K best extensions, so that K remain live even if K of them finish."""
    log_probs_BKV = jax.nn.log_softmax(logits_BKV)
    log_probs_BKV = constrain(log_probs_BKV, beams.live_tokens_BKT, beams.count, params, spec)
    live_BK = _without_unused(beams.live_log_probs_BK, params, UNUSED)
    log_probs_BKV = log_probs_BKV + live_BK[:, :, None]
    B, K, V = log_probs_BKV.shape
    log_probs_BJ, index_BJ = top_k(log_probs_BKV.reshape(B, K * V), 2 * K)
    parents_BJ, chosen_BJ = index_BJ // V, (index_BJ % V).astype(jnp.int32)
    forced_B1 = forced_token(params.forced_BF, beams.count)[:, None]
    # Within a forced prefix there is one beam, with probability 1.
    certain_J = jnp.where(jnp.arange(2 * K) == 0, 0.0, IMPOSSIBLE)[None]
    log_probs_BJ = jnp.where(forced_B1 >= 0, certain_J, log_probs_BJ)
    chosen_BJ = jnp.where(forced_B1 >= 0, forced_B1, chosen_BJ)
    log_probs_BJ = _without_unused(log_probs_BJ, params, UNUSED, per_beam=2)
    tokens_BJT = _take_rows(beams.live_tokens_BKT, parents_BJ)
    tokens_BJT = jax.lax.dynamic_update_slice_in_dim(tokens_BJT, chosen_BJ[:, :, None], beams.count, axis=2)
    stops_BJ = is_stop_token(chosen_BJ, params.stop_BW) & (forced_B1 < 0)
    return _Candidates(tokens_BJT, log_probs_BJ, parents_BJ, stops_BJ)


def _add_finished(
    beams: Beams, candidates: _Candidates, finishes_BJ: jax.Array, params: SamplingParams, spec: DecodeSpec
) -> Beams:
    """Keeps the K best of the finished sequences and the newly finished candidates."""
    penalty_B1 = length_penalty(beams.count + 1, params.length_penalty_B, spec)
    scores_BJ = jnp.where(finishes_BJ, candidates.log_probs_BJ / penalty_B1, IMPOSSIBLE)
    all_scores = jnp.concatenate([beams.finished_scores_BK, scores_BJ], axis=1)
    scores_BK, index_BK = jax.lax.top_k(all_scores, spec.num_sequences)
    all_tokens = jnp.concatenate([beams.finished_tokens_BKT, candidates.tokens_BJT], axis=1)
    all_flags = jnp.concatenate([beams.is_finished_BK, finishes_BJ], axis=1)
    return beams._replace(
        finished_tokens_BKT=_take_rows(all_tokens, index_BK),
        finished_scores_BK=scores_BK,
        is_finished_BK=jnp.take_along_axis(all_flags, index_BK, axis=1),
    )


def _is_decided(beams: Beams, params: SamplingParams, spec: DecodeSpec) -> jax.Array:
    """Returns whether no live sequence can still enter the K best, [B]; the hf variant only estimates this."""
    # T5X allows one token more than the limit.
    longest = beams.count + 1 if spec.beam_variant == "hf" else params.max_new_B + 1
    penalty_B1 = length_penalty(longest, params.length_penalty_B, spec)
    best_live_B = (beams.live_log_probs_BK[:, :1] / penalty_B1)[:, 0]
    worst_B = jnp.min(_without_unused(beams.finished_scores_BK, params, jnp.inf), axis=1)
    beaten_B = worst_B >= best_live_B if spec.beam_variant == "hf" else worst_B > best_live_B
    return jnp.all(_without_unused(beams.is_finished_BK, params, True), axis=1) & beaten_B


def _without_unused(values: jax.Array, params: SamplingParams, fill: Any, *, per_beam: int = 1) -> jax.Array:
    """Fills the slots, `per_beam` for each beam, beyond an example's own number of beams.

    A search with fewer beams than slots is then the same as in a program for that number of beams.
    """
    if params.num_beams_B is None:
        return values
    is_used = jnp.arange(values.shape[1])[None] < per_beam * params.num_beams_B[:, None]
    return jnp.where(is_used, values, fill)


def top_k(scores_BV: jax.Array, k: int) -> tuple[jax.Array, jax.Array]:
    """Computes `jax.lax.top_k` in two stages: the k highest scores are in the k blocks with the highest maxima.

    For 8 x 128,512 scores on two CPU cores this takes 0.3 ms instead of 3.4.
    """
    B, V = scores_BV.shape
    if BLOCK * k > V:
        return jax.lax.top_k(scores_BV, k)
    padded_BV = jnp.pad(scores_BV, ((0, 0), (0, -V % BLOCK)), constant_values=-jnp.inf)
    blocks_BNW = padded_BV.reshape(B, -1, BLOCK)
    _, block_Bk = jax.lax.top_k(jnp.max(blocks_BNW, axis=-1), k)
    block_Bk = jnp.sort(block_Bk, axis=-1)  # so that ties are broken as by `jax.lax.top_k`
    chosen_BW = jnp.take_along_axis(blocks_BNW, block_Bk[:, :, None], axis=1).reshape(B, -1)
    highest_Bk, index_Bk = jax.lax.top_k(chosen_BW, k)
    return highest_Bk, jnp.take_along_axis(block_Bk, index_Bk // BLOCK, axis=1) * BLOCK + index_Bk % BLOCK


def _take_rows(tokens_BKT: jax.Array, index_BJ: jax.Array) -> jax.Array:
    return jnp.take_along_axis(tokens_BKT, index_BJ[:, :, None], axis=1)


def _select(over_B: jax.Array, old: Beams, new: Beams) -> Beams:
    """Keeps the old sequences of examples whose search is over; leaves the cache alone."""

    def choose(old: jax.Array, new: jax.Array) -> jax.Array:
        return jnp.where(over_B.reshape(-1, *[1] * (old.ndim - 1)), old, new)

    return new._replace(**{name: choose(getattr(old, name), getattr(new, name)) for name in Beams._fields[:6]})
