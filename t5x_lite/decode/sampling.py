# SPDX-License-Identifier: Apache-2.0
"""Decoding one token after the other, by greedy choice.

Shape letters: B batch, S input tokens, T new tokens, V vocabulary.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from t5x_lite.model.cache import Cache
from t5x_lite.model.transformer import T5

START_ID = 0  # T5 starts its decoder with padding
EOS_ID = 1


class _Decoding(NamedTuple):
    tokens_BT: jax.Array
    last_B: jax.Array
    finished_B: jax.Array
    cache: Cache


@functools.partial(jax.jit, static_argnames=("max_new_tokens", "vocab_size"))
def greedy(model: T5, inputs_BS: jax.Array, *, max_new_tokens: int, vocab_size: int | None = None) -> jax.Array:
    """Takes the most probable token at each step, until every sequence has ended.

    Args:
      model: the model; called without dropout.
      inputs_BS: input ids, 0 on padding.
      max_new_tokens: T, at most so many tokens are decoded.
      vocab_size: ids the tokenizer has; the rows that pad the embedding beyond it are never chosen.

    Returns:
      tokens_BT: EOS ends a sequence, 0 follows it.
    """
    B, V = inputs_BS.shape[0], model.cfg.vocab_size
    allowed_V = jnp.arange(V) < (V if vocab_size is None else vocab_size)

    def unfinished(decoding: _Decoding) -> jax.Array:
        return (decoding.cache.position < max_new_tokens) & ~jnp.all(decoding.finished_B)

    def step(decoding: _Decoding) -> _Decoding:
        position = decoding.cache.position
        logits_BV, cache = model.decode_step(decoding.last_B, decoding.cache)
        chosen_B = jnp.argmax(jnp.where(allowed_V[None], logits_BV, -jnp.inf), axis=-1).astype(jnp.int32)
        chosen_B = jnp.where(decoding.finished_B, 0, chosen_B)
        tokens_BT = decoding.tokens_BT.at[:, position].set(chosen_B)
        return _Decoding(tokens_BT, chosen_B, decoding.finished_B | (chosen_B == EOS_ID), cache)

    start = _Decoding(
        tokens_BT=jnp.zeros((B, max_new_tokens), jnp.int32),
        last_B=jnp.full((B,), START_ID, jnp.int32),
        finished_B=jnp.zeros((B,), bool),
        cache=model.init_cache(model.encode(inputs_BS), inputs_BS, max_new_tokens),
    )
    return jax.lax.while_loop(unfinished, step, start).tokens_BT
