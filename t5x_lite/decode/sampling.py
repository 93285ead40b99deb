# SPDX-License-Identifier: Apache-2.0
"""Decoding one token after the other, by greedy choice.

Shape letters: B batch, S input tokens, P tokens of a prompt, T new tokens, V vocabulary.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from t5x_lite.model.decoder import Decoder
from t5x_lite.model.transformer import T5

START_ID = 0  # T5 starts its decoder with padding
EOS_ID = 1


class _Decoding(NamedTuple):
    tokens_BT: jax.Array
    count: jax.Array  # of tokens decoded
    last_B: jax.Array
    finished_B: jax.Array
    cache: Any


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
    cache = model.init_cache(model.encode(inputs_BS), inputs_BS, max_new_tokens)
    return _go_on(model, _start(len(inputs_BS), max_new_tokens, cache), vocab_size)


@functools.partial(jax.jit, static_argnames=("sees_prefix", "max_new_tokens", "vocab_size"))
def greedy_continuation(
    model: Decoder,
    prompts_BP: jax.Array,
    lengths_B: jax.Array,
    *,
    sees_prefix: bool,
    max_new_tokens: int,
    vocab_size: int | None = None,
) -> jax.Array:
    """`greedy` for a decoder alone, which goes on with a prompt.

    Args:
      model: the model; called without dropout.
      prompts_BP: prompts, one or more places of padding before each.
      lengths_B: tokens of each prompt.
      sees_prefix: whether the model reads the prompt both ways, as a prefix LM.
      max_new_tokens: T, at most so many tokens are decoded.
      vocab_size: as for `greedy`.

    Returns:
      tokens_BT, without the prompt: EOS ends a sequence, 0 follows it.
    """
    B, P = prompts_BP.shape
    cache = model.init_cache(B, P + max_new_tokens)
    prefix_BP = jnp.ones_like(prompts_BP) if sees_prefix else None
    logits_BV, cache = model.prefill(prompts_BP, cache, prefix_BP, lengths_B + 1)  # and the padding that starts it
    decoding = _chosen(_start(B, max_new_tokens, cache), logits_BV, cache, vocab_size)
    return _go_on(model, decoding, vocab_size)


def _start(batch_size: int, max_new_tokens: int, cache: Any) -> _Decoding:
    return _Decoding(
        tokens_BT=jnp.zeros((batch_size, max_new_tokens), jnp.int32),
        count=jnp.zeros((), jnp.int32),
        last_B=jnp.full((batch_size,), START_ID, jnp.int32),
        finished_B=jnp.zeros((batch_size,), bool),
        cache=cache,
    )


def _go_on(model: T5 | Decoder, decoding: _Decoding, vocab_size: int | None) -> jax.Array:
    """Decodes the tokens that are still to come; returns tokens_BT."""

    def unfinished(decoding: _Decoding) -> jax.Array:
        return (decoding.count < decoding.tokens_BT.shape[1]) & ~jnp.all(decoding.finished_B)

    def step(decoding: _Decoding) -> _Decoding:
        logits_BV, cache = model.decode_step(decoding.last_B, decoding.cache)
        return _chosen(decoding, logits_BV, cache, vocab_size)

    return jax.lax.while_loop(unfinished, step, decoding).tokens_BT


def _chosen(decoding: _Decoding, logits_BV: jax.Array, cache: Any, vocab_size: int | None) -> _Decoding:
    """Returns the decoding with one more token of each sequence."""
    V = logits_BV.shape[1]
    allowed_V = jnp.arange(V) < (V if vocab_size is None else vocab_size)
    chosen_B = jnp.argmax(jnp.where(allowed_V[None], logits_BV, -jnp.inf), axis=-1).astype(jnp.int32)
    chosen_B = jnp.where(decoding.finished_B, 0, chosen_B)
    tokens_BT = decoding.tokens_BT.at[:, decoding.count].set(chosen_B)
    finished_B = decoding.finished_B | (chosen_B == EOS_ID)
    return _Decoding(tokens_BT, decoding.count + 1, chosen_B, finished_B, cache)
