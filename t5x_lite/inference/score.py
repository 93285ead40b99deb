# SPDX-License-Identifier: Apache-2.0
"""Log-likelihoods of targets, and rank classification.

Shape letters: B batch, T target tokens, D model, V vocabulary.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from t5x_lite.checkpoints.load import Pretrained
from t5x_lite.config.architectures import DECODERS
from t5x_lite.config.texts import as_texts
from t5x_lite.data.converters import encoder_decoder
from t5x_lite.data.prefix_lm import continuation
from t5x_lite.inference.engine import batched, check_call, pad_inputs
from t5x_lite.model.kernels.cross_entropy import token_scores


class Score(NamedTuple):
    """Log-likelihood of a target."""

    log_likelihood: float  # in nats; the sum of log_probs
    log_probs: list[float]  # per token, EOS last

    @property
    def perplexity(self) -> float:
        """Perplexity per token."""
        return math.exp(-self.log_likelihood / len(self.log_probs))


class Ranking(NamedTuple):
    """The most probable of several choices."""

    best: str
    scores: dict[str, Score]  # by choice


def score(pretrained: Pretrained, inputs: Iterable[str], targets: Iterable[str], *, batch_size: int = 8) -> list[Score]:
    """Returns the log-likelihood of each target given its input, EOS included.

    Args:
      pretrained: a model that decodes, as returned by `load`.
      inputs: a list, or another iterable, of input texts.
      targets: a target for each input.
      batch_size: number of pairs to score at once.

    Raises:
      ValueError: if the numbers of inputs and targets differ, or the model does not decode.
      TypeError: if the inputs or targets are a single text, or the model is not a result of `load`.
    """
    check_call(pretrained, batch_size)
    inputs, targets = as_texts(inputs, "inputs"), as_texts(targets, "targets")
    tokenizer, architecture, traits = pretrained.tokenizer, pretrained.architecture, pretrained.architecture.traits
    if not traits.decodes:
        remedy = f"use one of {', '.join(DECODERS)}"
        raise ValueError(f"the model is {architecture.with_article}, which has no targets to score: {remedy}")
    if len(inputs) != len(targets):
        raise ValueError(f"there are {len(inputs)} inputs and {len(targets)} targets: give one target for each input")
    pad_id, start_id = tokenizer.pad_id, pretrained.config.start_id
    scores = []
    for pairs in batched(zip(inputs, targets, strict=True), batch_size):
        rows = {}
        for side, texts in zip(("inputs", "targets"), zip(*pairs, strict=True), strict=True):
            encoded = [[*tokenizer.encode(text), tokenizer.eos_id] for text in texts]
            rows[side] = pad_inputs(encoded, batch_size, pad_id=pad_id)
        if traits.has_encoder:
            batch = encoder_decoder(rows, bos_id=start_id, pad_id=pad_id)
        else:
            eos_id = None if architecture.keeps_eos else tokenizer.eos_id
            batch = continuation(rows, eos_id=eos_id, sees_prefix=traits.sees_prefix, bos_id=start_id, pad_id=pad_id)
        log_probs_BT, weights_BT = np.asarray(target_log_probs(pretrained.model, batch)), batch["decoder_loss_weights"]
        for log_probs_T, weights_T in zip(log_probs_BT[: len(pairs)], weights_BT, strict=False):
            log_probs = log_probs_T[weights_T > 0].tolist()
            scores.append(Score(math.fsum(log_probs), log_probs))
    return scores


def rank(
    pretrained: Pretrained,
    inputs: Iterable[str],
    choices: Iterable[str],
    *,
    by_token: bool = False,
    batch_size: int = 8,
) -> list[Ranking]:
    """Returns the most probable choice for each input (rank classification).

        t5x_lite.rank(flan, ["Is water wet?"], ["yes", "no"])[0].best

    Args:
      pretrained: a model that decodes, as returned by `load`.
      inputs: a list, or another iterable, of input texts.
      choices: a list of distinct answers; ties go to the first.
      by_token: whether to rank by log-likelihood per token, which penalises long answers less.
      batch_size: number of pairs to score at once.

    Raises:
      ValueError: if there are no choices, a choice is repeated, or the model does not decode.
      TypeError: if the inputs or choices are a single text, or the model is not a result of `load`.
    """
    inputs, choices = as_texts(inputs, "inputs"), as_texts(choices, "choices")
    if not choices or len(set(choices)) < len(choices):
        raise ValueError(f"choices are {choices}: give at least one, and each once")
    pairs = [(text, choice) for text in inputs for choice in choices]
    scored = score(pretrained, [text for text, _ in pairs], [choice for _, choice in pairs], batch_size=batch_size)

    def value(target: Score) -> float:
        return target.log_likelihood / len(target.log_probs) if by_token else target.log_likelihood

    scores_of_inputs = [dict(zip(choices, group, strict=True)) for group in batched(scored, len(choices))]
    return [Ranking(max(choices, key=lambda choice: value(scores[choice])), scores) for scores in scores_of_inputs]


@jax.jit
def target_log_probs(model: Any, batch: Mapping[str, jax.Array]) -> jax.Array:
    """Returns each target token's log-probability given the previous ones, [B, T]; 0 where its weight is 0."""
    hidden_BTD, kernel_DV, targets_BT, weights_BT = model.predict(batch)
    nats_BT = token_scores(hidden_BTD, kernel_DV, targets_BT).nats_BT
    return jnp.where(weights_BT > 0, -nats_BT, 0.0)
