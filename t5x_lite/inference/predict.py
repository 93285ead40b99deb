# SPDX-License-Identifier: Apache-2.0
"""What a model of any architecture answers to inputs, as text.

Shape letters: B batch, S input tokens, V vocabulary, C labels.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from t5x_lite.config import GenerationConfig
from t5x_lite.data.labels import Words
from t5x_lite.data.tokenizers import Tokenizer
from t5x_lite.inference.loop import HERE, Devices, generate_ids
from t5x_lite.inference.params import make_controls, make_plan
from t5x_lite.model.architectures import Architecture

Answer = Callable[[Any, np.ndarray], list[str]]  # of a model and inputs_BS, EOS after each, on the host


def make_answer(
    architecture: Architecture, tokenizer: Tokenizer, config: GenerationConfig, devices: Devices = HERE
) -> Answer:
    """Returns what answers batches of inputs: a decoder with its best sequence, an encoder with what is most probable.

    Args:
      architecture: of the models that are given.
      tokenizer: of the inputs and the answers.
      config: how a decoder decodes; an encoder has no use for it.
      devices: that the models are on.
    """
    traits, place, fetch = architecture.traits, devices.place, devices.fetch
    if traits.decodes:
        plan = make_plan([config], vocab_size=tokenizer.vocab_size, num_steps=config.max_new_tokens)

        def decode(model: Any, inputs_BS: np.ndarray) -> list[str]:
            B = len(inputs_BS)
            controls = make_controls([config] * B, range(B), eos_id=tokenizer.eos_id)
            generated = generate_ids(model, architecture, inputs_BS, controls, plan, devices)
            return tokenizer.decode_batch(generated.tokens_BKT[:, 0])

        return decode
    if traits.fills_masks:

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


def label_probabilities(model: Any, inputs_BS: np.ndarray, labels: Sequence[str]) -> list[dict[str, float]]:
    """Returns how probable a sequence classifier finds each label of each row."""
    shares_BC = np.asarray(_softmax(model, inputs_BS))
    return [dict(zip(labels, map(float, shares_C), strict=True)) for shares_C in shares_BC]


@jax.jit
def _softmax(model: Any, inputs_BS: jax.Array) -> jax.Array:
    return jax.nn.softmax(model(inputs_BS), axis=-1)
