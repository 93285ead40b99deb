# SPDX-License-Identifier: Apache-2.0
"""Decoding one token after the other: the most probable, or one that is drawn.

Shape letters: B batch, K sequences of an example, T new tokens, V vocabulary.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from t5x_lite.inference.constraints import constrained, ends, forced_token, within_vocabulary
from t5x_lite.inference.filters import draw, keep_min_p, keep_top_k, keep_top_p
from t5x_lite.inference.params import Controls, Plan

# Of tokens_BK and a cache: logits_BKV of the tokens after them, and the cache that has seen them.
Step = Callable[[jax.Array, Any], tuple[jax.Array, Any]]
LOWEST_TEMPERATURE = 1e-4  # T5X's


class Decoding(NamedTuple):
    """What has been decoded, and what the next step needs."""

    tokens_BKT: jax.Array  # EOS or a stop token ends a sequence, 0 follows it
    log_probs_BKT: jax.Array  # of the tokens as the model has them; [B, K, 0] if they are not wanted
    last_BK: jax.Array
    finished_BK: jax.Array
    count: jax.Array  # scalar: steps so far
    cache: Any


def start(first_B: jax.Array, cache: Any, plan: Plan) -> Decoding:
    """Returns a decoding with nothing decoded; `first_B` is what each example goes on from."""
    B, K, T = len(first_B), plan.num_sequences, plan.num_steps
    return Decoding(
        tokens_BKT=jnp.zeros((B, K, T), jnp.int32),
        log_probs_BKT=jnp.zeros((B, K, T if plan.scores else 0), jnp.float32),
        last_BK=jnp.broadcast_to(first_B[:, None], (B, K)).astype(jnp.int32),
        finished_BK=jnp.zeros((B, K), bool),
        count=jnp.zeros((), jnp.int32),
        cache=cache,
    )


def advance(step: Step, decoding: Decoding, controls: Controls, plan: Plan, until: jax.Array) -> Decoding:
    """Decodes until every sequence has ended, or there are `until` tokens of each."""

    def goes_on(decoding: Decoding) -> jax.Array:
        return (decoding.count < jnp.minimum(until, plan.num_steps)) & ~jnp.all(decoding.finished_BK)

    def one_more(decoding: Decoding) -> Decoding:
        logits_BKV, cache = step(decoding.last_BK, decoding.cache)
        return _with_token(decoding._replace(cache=cache), logits_BKV, controls, plan)

    return jax.lax.while_loop(goes_on, one_more, decoding)


def _with_token(decoding: Decoding, logits_BKV: jax.Array, controls: Controls, plan: Plan) -> Decoding:
    count = decoding.count
    free_BKV = constrained(logits_BKV, decoding.tokens_BKT, count, controls, plan)
    chosen_BK = choose(free_BKV, count, controls, plan)
    forced_B1 = forced_token(controls.forced_BF, count)[:, None]
    chosen_BK = jnp.where(forced_B1 > 0, forced_B1, chosen_BK)
    chosen_BK = jnp.where(decoding.finished_BK, 0, chosen_BK).astype(jnp.int32)
    log_probs_BKT = decoding.log_probs_BKT
    if plan.scores:
        log_probs_BK = log_probabilities(within_vocabulary(logits_BKV, plan.vocab_size), chosen_BK)
        # As in T5X, what is forced is certain.
        log_probs_BK = jnp.where(decoding.finished_BK | (forced_B1 > 0), 0.0, log_probs_BK)
        log_probs_BKT = _written(log_probs_BKT, log_probs_BK, count)
    # What is forced ends nothing: a prefix may hold EOS.
    ended_BK = (ends(chosen_BK, controls.stop_BW) & (forced_B1 == 0)) | (count + 1 >= controls.max_new_B)[:, None]
    return Decoding(
        tokens_BKT=_written(decoding.tokens_BKT, chosen_BK, count),
        log_probs_BKT=log_probs_BKT,
        last_BK=chosen_BK,
        finished_BK=decoding.finished_BK | ended_BK,
        count=count + 1,
        cache=decoding.cache,
    )


def choose(logits_BKV: jax.Array, count: jax.Array, controls: Controls, plan: Plan) -> jax.Array:
    """Returns the next token of each sequence, [B, K]: drawn where an example has a temperature."""
    highest_BK = jnp.argmax(logits_BKV, axis=-1)
    if not plan.draws:
        return highest_BK
    uniform_BK = _uniform(controls.seed_B, count, plan.num_sequences)
    drawn_BK = draw(filtered(logits_BKV, controls, plan), uniform_BK)
    return jnp.where((controls.temperature_B > 0)[:, None], drawn_BK, highest_BK)


def filtered(logits_BKV: jax.Array, controls: Controls, plan: Plan) -> jax.Array:
    """Returns the logits that tokens are drawn from: divided by the temperature, then top-k, top-p and min-p."""
    logits_BKV = logits_BKV / jnp.maximum(controls.temperature_B, LOWEST_TEMPERATURE)[:, None, None]
    if plan.most_top_k:
        most = min(plan.most_top_k, logits_BKV.shape[-1])
        logits_BKV = keep_top_k(logits_BKV, controls.top_k_B, most=most)
    if plan.has_top_p:
        logits_BKV = keep_top_p(logits_BKV, controls.top_p_B)
    if plan.has_min_p:
        logits_BKV = keep_min_p(logits_BKV, controls.min_p_B)
    return logits_BKV


def log_probabilities(logits_BKV: jax.Array, tokens_BK: jax.Array) -> jax.Array:
    """Returns the log-probability of each token, [B, K]."""
    of_token_BK = jnp.take_along_axis(logits_BKV, tokens_BK[:, :, None], axis=-1)[:, :, 0]
    return of_token_BK - jax.nn.logsumexp(logits_BKV, axis=-1)


def _uniform(seed_B: jax.Array, count: jax.Array, num_sequences: int) -> jax.Array:
    """Returns a number from [0, 1) of each sequence [B, K], which depends on no other example."""

    def of_example(seed: jax.Array) -> jax.Array:
        return jax.random.uniform(jax.random.fold_in(jax.random.key(seed), count), (num_sequences,))

    return jax.vmap(of_example)(seed_B)


def _written(array_BKT: jax.Array, new_BK: jax.Array, count: jax.Array) -> jax.Array:
    return jax.lax.dynamic_update_slice_in_dim(array_BKT, new_BK[:, :, None], count, axis=2)
