# SPDX-License-Identifier: Apache-2.0
"""Beam search, by the rules of T5X or by those of transformers.

Both follow the K best unfinished sequences, the live ones, and keep the K best finished ones. They differ in how a
finished sequence's score is divided by its length, in which candidates may finish, in when a search is over, and in
what becomes of the live ones when there is no more room.

Sources: T5X `decoding.py`; transformers `generation/utils.py`, with its defaults (`early_stopping` off).

Shape letters: B batch, K beams, J = 2 K candidates, T new tokens, V vocabulary, W logits in a block.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from t5x_lite.inference.constraints import constrained, ends, forced_token
from t5x_lite.inference.filters import BLOCK
from t5x_lite.inference.params import Controls, Plan
from t5x_lite.inference.sampling import Step

IMPOSSIBLE = -1e7  # T5X's lowest score


class Beams(NamedTuple):
    """The best first, of live and of finished ones."""

    live_tokens_BKT: jax.Array
    live_log_probs_BK: jax.Array  # sums over the tokens
    finished_tokens_BKT: jax.Array
    finished_scores_BK: jax.Array
    is_finished_BK: jax.Array  # whether there is such a sequence yet
    last_BK: jax.Array  # tokens of the live ones
    over_B: jax.Array  # whether the search is
    count: jax.Array  # scalar: steps so far
    cache: Any


class _Candidates(NamedTuple):
    tokens_BJT: jax.Array
    log_probs_BJ: jax.Array
    parents_BJ: jax.Array
    ends_BJ: jax.Array


def start(first_B: jax.Array, cache: Any, plan: Plan) -> Beams:
    """Returns a search that has found nothing; `first_B` is what each example goes on from."""
    B, K, T = len(first_B), plan.num_sequences, plan.num_steps
    nothing_BKT = jnp.zeros((B, K, T), jnp.int32)
    # All beams are the same at first: only one may go on.
    live_K = jnp.where(jnp.arange(K) == 0, 0.0, IMPOSSIBLE)
    return Beams(
        live_tokens_BKT=nothing_BKT,
        live_log_probs_BK=jnp.broadcast_to(live_K, (B, K)),
        finished_tokens_BKT=nothing_BKT,
        finished_scores_BK=jnp.full((B, K), IMPOSSIBLE),
        is_finished_BK=jnp.zeros((B, K), bool),
        last_BK=jnp.broadcast_to(first_B[:, None], (B, K)).astype(jnp.int32),
        over_B=jnp.zeros(B, bool),
        count=jnp.zeros((), jnp.int32),
        cache=cache,
    )


def advance(step: Step, beams: Beams, controls: Controls, plan: Plan, until: jax.Array) -> Beams:
    """Searches until every example's search is over, or there are `until` tokens of each beam.

    Args:
      step: a step of a model.
      beams: of `start`, with a cache that has `reorder`.
      controls: of each example.
      plan: what of it is asked for.
      until: a number of tokens.
    """

    def goes_on(beams: Beams) -> jax.Array:
        return (beams.count < jnp.minimum(until, plan.num_steps)) & ~jnp.all(beams.over_B)

    def one_more(beams: Beams) -> Beams:
        logits_BKV, cache = step(beams.last_BK, beams.cache)
        return _extended(beams._replace(cache=cache), logits_BKV, controls, plan)

    return jax.lax.while_loop(goes_on, one_more, beams)


def best(beams: Beams, controls: Controls, plan: Plan) -> tuple[jax.Array, jax.Array]:
    """Returns tokens_BKT, EOS included, and scores_BK, the best first: finished ones, or live ones if there is none."""
    if plan.beam_rules == "hf":  # has finished all when it ran out of room
        return beams.finished_tokens_BKT, beams.finished_scores_BK
    any_B1 = jnp.any(beams.is_finished_BK, axis=1)[:, None]
    tokens_BKT = jnp.where(any_B1[:, :, None], beams.finished_tokens_BKT, beams.live_tokens_BKT)
    return tokens_BKT, jnp.where(any_B1, beams.finished_scores_BK, beams.live_log_probs_BK)


def length_penalty(length: jax.Array, exponent_B: jax.Array, plan: Plan) -> jax.Array:
    """Returns what a log-probability of so many tokens is divided by, [B, 1]."""
    base = jnp.asarray(length, jnp.float32) if plan.beam_rules == "hf" else (5 + length) / 6
    return jnp.power(base, exponent_B)[:, None]


def _extended(beams: Beams, logits_BKV: jax.Array, controls: Controls, plan: Plan) -> Beams:
    count = beams.count
    candidates = _candidates(beams, logits_BKV, controls, plan)
    at_end_B1 = (count + 1 >= controls.max_new_B)[:, None]
    finishes_BJ = candidates.ends_BJ
    if plan.beam_rules == "hf":
        finishes_BJ = candidates.ends_BJ | at_end_B1
    live_BJ = jnp.where(finishes_BJ, candidates.log_probs_BJ + IMPOSSIBLE, candidates.log_probs_BJ)
    live_log_probs_BK, index_BK = jax.lax.top_k(live_BJ, plan.num_sequences)
    live_tokens_BKT = _rows(candidates.tokens_BJT, index_BK)
    parents_BK = jnp.take_along_axis(candidates.parents_BJ, index_BK, axis=1)
    if plan.beam_rules == "hf":  # the best K candidates alone may finish
        finishes_BJ &= (jnp.arange(finishes_BJ.shape[1]) < plan.num_sequences)[None]
    extended = beams._replace(
        live_tokens_BKT=live_tokens_BKT,
        live_log_probs_BK=live_log_probs_BK,
        last_BK=jax.lax.dynamic_index_in_dim(live_tokens_BKT, count, axis=2, keepdims=False),
    )
    extended = _with_finished(extended, candidates, finishes_BJ, controls, plan)
    over_B = beams.over_B | at_end_B1[:, 0] | _is_decided(extended, controls, plan)
    kept = _where(beams.over_B, beams, extended)
    return kept._replace(over_B=over_B, count=count + 1, cache=beams.cache.reorder(parents_BK))


def _candidates(beams: Beams, logits_BKV: jax.Array, controls: Controls, plan: Plan) -> _Candidates:
    """Returns the 2 K best ways to go on: if K of them end, K are left."""
    log_probs_BKV = jax.nn.log_softmax(logits_BKV)
    log_probs_BKV = constrained(log_probs_BKV, beams.live_tokens_BKT, beams.count, controls, plan)
    log_probs_BKV = log_probs_BKV + beams.live_log_probs_BK[:, :, None]
    B, K, V = log_probs_BKV.shape
    log_probs_BJ, index_BJ = top_k(log_probs_BKV.reshape(B, K * V), 2 * K)
    parents_BJ, chosen_BJ = index_BJ // V, (index_BJ % V).astype(jnp.int32)
    forced_B1 = forced_token(controls.forced_BF, beams.count)[:, None]
    # Within a forced prefix there is one beam, and what it has is certain.
    certain_J = jnp.where(jnp.arange(2 * K) == 0, 0.0, IMPOSSIBLE)[None]
    log_probs_BJ = jnp.where(forced_B1 > 0, certain_J, log_probs_BJ)
    chosen_BJ = jnp.where(forced_B1 > 0, forced_B1, chosen_BJ)
    tokens_BJT = _rows(beams.live_tokens_BKT, parents_BJ)
    tokens_BJT = jax.lax.dynamic_update_slice_in_dim(tokens_BJT, chosen_BJ[:, :, None], beams.count, axis=2)
    ends_BJ = ends(chosen_BJ, controls.stop_BW) & (forced_B1 == 0)
    return _Candidates(tokens_BJT, log_probs_BJ, parents_BJ, ends_BJ)


def _with_finished(
    beams: Beams, candidates: _Candidates, finishes_BJ: jax.Array, controls: Controls, plan: Plan
) -> Beams:
    """Keeps the K best of what had finished and what finishes now."""
    penalty_B1 = length_penalty(beams.count + 1, controls.length_penalty_B, plan)
    scores_BJ = jnp.where(finishes_BJ, candidates.log_probs_BJ / penalty_B1, IMPOSSIBLE)
    all_scores = jnp.concatenate([beams.finished_scores_BK, scores_BJ], axis=1)
    scores_BK, index_BK = jax.lax.top_k(all_scores, plan.num_sequences)
    all_tokens = jnp.concatenate([beams.finished_tokens_BKT, candidates.tokens_BJT], axis=1)
    all_flags = jnp.concatenate([beams.is_finished_BK, finishes_BJ], axis=1)
    return beams._replace(
        finished_tokens_BKT=_rows(all_tokens, index_BK),
        finished_scores_BK=scores_BK,
        is_finished_BK=jnp.take_along_axis(all_flags, index_BK, axis=1),
    )


def _is_decided(beams: Beams, controls: Controls, plan: Plan) -> jax.Array:
    """Returns whether no live sequence can become one of the K best, [B]; transformers only estimates it."""
    # T5X counts a token more than there is room for.
    longest = beams.count + 1 if plan.beam_rules == "hf" else controls.max_new_B + 1
    penalty_B1 = length_penalty(longest, controls.length_penalty_B, plan)
    best_live_B = (beams.live_log_probs_BK[:, :1] / penalty_B1)[:, 0]
    worst_B = jnp.min(beams.finished_scores_BK, axis=1)
    beaten_B = worst_B >= best_live_B if plan.beam_rules == "hf" else worst_B > best_live_B
    return jnp.all(beams.is_finished_BK, axis=1) & beaten_B


def top_k(scores_BV: jax.Array, k: int) -> tuple[jax.Array, jax.Array]:
    """`jax.lax.top_k`, in two stages: the k blocks with the highest maxima hold the k highest.

    For 8 x 128,512 scores on two cores of a CPU: 0.3 ms and not 3.4.
    """
    B, V = scores_BV.shape
    if BLOCK * k > V:
        return jax.lax.top_k(scores_BV, k)
    padded_BV = jnp.pad(scores_BV, ((0, 0), (0, -V % BLOCK)), constant_values=-jnp.inf)
    blocks_BNW = padded_BV.reshape(B, -1, BLOCK)
    _, block_Bk = jax.lax.top_k(jnp.max(blocks_BNW, axis=-1), k)
    block_Bk = jnp.sort(block_Bk, axis=-1)  # so that the first of equal ones is the first of all
    chosen_BW = jnp.take_along_axis(blocks_BNW, block_Bk[:, :, None], axis=1).reshape(B, -1)
    highest_Bk, index_Bk = jax.lax.top_k(chosen_BW, k)
    return highest_Bk, jnp.take_along_axis(block_Bk, index_Bk // BLOCK, axis=1) * BLOCK + index_Bk % BLOCK


def _rows(tokens_BKT: jax.Array, index_BJ: jax.Array) -> jax.Array:
    return jnp.take_along_axis(tokens_BKT, index_BJ[:, :, None], axis=1)


def _where(over_B: jax.Array, old: Beams, new: Beams) -> Beams:
    """Returns the old of examples whose search is over, and the new of the others; not the cache."""

    def choose(old: jax.Array, new: jax.Array) -> jax.Array:
        return jnp.where(over_B.reshape(-1, *[1] * (old.ndim - 1)), old, new)

    of_examples = {name: choose(getattr(old, name), getattr(new, name)) for name in Beams._fields[:6]}
    return new._replace(**of_examples)
