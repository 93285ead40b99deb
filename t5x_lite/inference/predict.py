# SPDX-License-Identifier: Apache-2.0
"""Predictions of any architecture as text: decoded sequences, filled masks or labels.

Shape letters: B batch, S input tokens, V vocabulary, C labels.
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from t5x_lite.data.labels import Words
from t5x_lite.data.tokenizers import Tokenizer
from t5x_lite.inference.loop import LOCAL, Devices, greedy_ids
from t5x_lite.model.architectures import Architecture

cached_words = functools.lru_cache(maxsize=2)(Words)


def predict(
    model: Any,
    architecture: Architecture,
    inputs_BS: np.ndarray,
    tokenizer: Tokenizer,
    max_new_tokens: int = 0,
    devices: Devices = LOCAL,
) -> list[str]:
    """Returns the prediction for each input: the greedily decoded output, or the most probable tokens or labels.

    `inputs_BS` holds padded ids with EOS, on the host; encoder models ignore `max_new_tokens`.
    """
    if architecture.traits.decodes:
        tokens_BT = greedy_ids(model, architecture, inputs_BS, tokenizer, max_new_tokens, devices)
        return tokenizer.decode_batch(tokens_BT)
    if architecture.traits.fills_masks:
        chosen_BS = devices.fetch(most_probable(model, devices.place(inputs_BS), vocab_size=tokenizer.vocab_size))
        return tokenizer.decode_batch(np.where(inputs_BS == tokenizer.sentinel_id(0), chosen_BS, inputs_BS))
    labels = np.asarray(architecture.labels, object)
    chosen = labels[devices.fetch(most_probable(model, devices.place(inputs_BS)))]
    if chosen.ndim == 1:
        return chosen.tolist()
    starts_BS = cached_words(tokenizer).starts(inputs_BS)
    return [" ".join(chosen_S[starts_S]) for chosen_S, starts_S in zip(chosen, starts_BS, strict=True)]


@functools.partial(jax.jit, static_argnames="vocab_size")
def most_probable(model: Any, inputs_BS: jax.Array, *, vocab_size: int | None = None) -> jax.Array:
    """Returns an encoder model's most probable id or label per token, [B, S], or per sequence, [B].

    For ids, `vocab_size` excludes the padding rows of the embedding.
    """
    logits = model(inputs_BS)
    return jnp.argmax(logits[..., :vocab_size], axis=-1)


def label_probabilities(model: Any, inputs_BS: np.ndarray, labels: Sequence[str]) -> list[dict[str, float]]:
    """Returns a sequence classifier's probability of each label, per row."""
    probabilities_BC = np.asarray(_probabilities(model, inputs_BS))
    return [dict(zip(labels, map(float, row_C), strict=True)) for row_C in probabilities_BC]


@jax.jit
def _probabilities(model: Any, inputs_BS: jax.Array) -> jax.Array:
    return jax.nn.softmax(model(inputs_BS), axis=-1)
