# SPDX-License-Identifier: Apache-2.0
"""What a model of any architecture answers to inputs, as text.

Shape letters: B batch, S input tokens, P = S + 1 places of a prompt, T new tokens, V vocabulary, C labels.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from t5x_lite.data.labels import Words
from t5x_lite.data.tokenizer import Tokenizer
from t5x_lite.decode.sampling import greedy, greedy_continuation
from t5x_lite.model.architectures import Architecture

Answer = Callable[[Any, np.ndarray], list[str]]  # of a model and inputs_BS, EOS after each, on the host


def make_answer(
    architecture: Architecture,
    tokenizer: Tokenizer,
    *,
    max_new_tokens: int,
    place: Callable[[np.ndarray], Any] = np.asarray,
    fetch: Callable[[Any], np.ndarray] = np.asarray,
) -> Answer:
    """Returns what answers batches of inputs: a decoder greedily, an encoder with what it finds most probable.

    Args:
      architecture: of the models that are given.
      tokenizer: of the inputs and the answers.
      max_new_tokens: T of a decoder; an encoder has no use for it.
      place: puts an array with the batch first onto the devices that a model is on.
      fetch: the inverse.
    """
    name = architecture.name
    sizes = {"max_new_tokens": max_new_tokens, "vocab_size": tokenizer.vocab_size}
    if name == "encoder_decoder":
        return lambda model, inputs_BS: tokenizer.decode_batch(fetch(greedy(model, place(inputs_BS), **sizes)))
    if name in ("causal_lm", "prefix_lm"):
        decode = functools.partial(greedy_continuation, sees_prefix=name == "prefix_lm", **sizes)

        def go_on(model: Any, inputs_BS: np.ndarray) -> list[str]:
            prompts_BP, length_B = as_prompts(inputs_BS, eos_id=tokenizer.eos_id)
            return tokenizer.decode_batch(fetch(decode(model, place(prompts_BP), place(length_B))))

        return go_on
    if name == "masked_lm":

        def fill_in(model: Any, inputs_BS: np.ndarray) -> list[str]:
            chosen_BS = fetch(most_probable(model, place(inputs_BS), vocab_size=tokenizer.vocab_size))
            return tokenizer.decode_batch(np.where(inputs_BS == tokenizer.sentinel_id(0), chosen_BS, inputs_BS))

        return fill_in
    return _make_choice(architecture, Words(tokenizer), place, fetch)


def _make_choice(architecture: Architecture, words: Words, place: Callable, fetch: Callable) -> Answer:
    labels = np.asarray(architecture.labels, object)

    def choose(model: Any, inputs_BS: np.ndarray) -> list[str]:
        chosen = labels[fetch(most_probable(model, place(inputs_BS)))]
        if chosen.ndim == 1:
            return chosen.tolist()
        starts_BS = words.starts(inputs_BS)
        return [" ".join(chosen_S[starts_S]) for chosen_S, starts_S in zip(chosen, starts_BS, strict=True)]

    return choose


@functools.partial(jax.jit, static_argnames="vocab_size")
def most_probable(model: Any, inputs_BS: jax.Array, *, vocab_size: int | None = None) -> jax.Array:
    """Returns the most probable id, or label, of each place [B, S], or of each sequence [B].

    Args:
      model: an encoder with a head.
      inputs_BS: input ids, 0 on padding.
      vocab_size: ids the tokenizer has; the rows that pad the embedding beyond it are never chosen.
    """
    logits = model(inputs_BS)
    return jnp.argmax(logits[..., :vocab_size], axis=-1)


def as_prompts(inputs_BS: np.ndarray, *, eos_id: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns (prompts_BP, lengths_B) for `greedy_continuation`: inputs without EOS, moved to the right.

    Args:
      inputs_BS: ids, EOS after each row's, 0 on padding.
      eos_id: left out where it is a row's last id.
    """
    B, S = inputs_BS.shape
    length_B = np.count_nonzero(inputs_BS, axis=1)
    last_B = inputs_BS[np.arange(B), np.maximum(length_B - 1, 0)]
    length_B = (length_B - (last_B == eos_id)).astype(np.int32)
    place_BS = np.arange(S)[None] - (S - length_B[:, None])
    moved_BS = np.where(place_BS >= 0, np.take_along_axis(inputs_BS, np.maximum(place_BS, 0), axis=1), 0)
    return np.pad(moved_BS, ((0, 0), (1, 0))).astype(np.int32), length_B


def label_probabilities(model: Any, inputs_BS: np.ndarray, labels: Sequence[str]) -> list[dict[str, float]]:
    """Returns how probable a sequence classifier finds each label of each row."""
    shares_BC = np.asarray(_softmax(model, inputs_BS))
    return [dict(zip(labels, map(float, shares_C), strict=True)) for shares_C in shares_BC]


@jax.jit
def _softmax(model: Any, inputs_BS: jax.Array) -> jax.Array:
    return jax.nn.softmax(model(inputs_BS), axis=-1)
