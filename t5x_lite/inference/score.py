# SPDX-License-Identifier: Apache-2.0
"""How probable a model finds given answers, and which of several it finds best.

Shape letters: B batch, T target tokens.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from t5x_lite.checkpoints.load import Pretrained
from t5x_lite.config.architectures import DECODERS
from t5x_lite.data.converters import continuation, encoder_decoder
from t5x_lite.inference.engine import batched, padded
from t5x_lite.inference.target_scores import target_log_probs


class Score(NamedTuple):
    """How probable a model finds a text."""

    log_likelihood: float  # nats, the sum of log_probs
    log_probs: list[float]  # of each token, EOS the last

    @property
    def perplexity(self) -> float:
        """Of a token."""
        return math.exp(-self.log_likelihood / len(self.log_probs))


def score(pretrained: Pretrained, inputs: Sequence[str], targets: Sequence[str], *, batch_size: int = 8) -> list[Score]:
    """Returns how probable a model finds each target after its input, EOS included.

    Args:
      pretrained: what `load` returns, of a model that decodes.
      inputs: as the model is to read them.
      targets: of each input.
      batch_size: texts scored at once.

    Raises:
      ValueError: if there are not as many targets as inputs, or the model does not decode.
    """
    tokenizer, (name, _), traits = pretrained.tokenizer, pretrained.architecture, pretrained.architecture.traits
    if not traits.decodes:
        raise ValueError(f"the model is a {name}, which has no targets to score: use one of {', '.join(DECODERS)}")
    if len(inputs) != len(targets):
        raise ValueError(f"there are {len(inputs)} inputs and {len(targets)} targets: give one target for each input")
    scores = []
    for pairs in batched(list(zip(inputs, targets, strict=True)), batch_size):
        sides = [[[*tokenizer.encode(text), tokenizer.eos_id] for text in side] for side in zip(*pairs, strict=True)]
        rows = {side: padded(ids, batch_size) for side, ids in zip(("inputs", "targets"), sides, strict=True)}
        if traits.has_encoder:
            batch = encoder_decoder(rows)
        else:
            batch = continuation(rows, eos_id=tokenizer.eos_id, sees_prefix=traits.sees_prefix)
        log_probs_BT, weights_BT = target_log_probs(pretrained.model, batch), batch["decoder_loss_weights"]
        for row in range(len(pairs)):
            of_row = np.asarray(log_probs_BT)[row][weights_BT[row] > 0].tolist()
            scores.append(Score(math.fsum(of_row), of_row))
    return scores


class Ranking(NamedTuple):
    """Which of several answers a model finds best."""

    best: str
    scores: dict[str, Score]  # of each choice


def rank(
    pretrained: Pretrained,
    inputs: Sequence[str],
    choices: Sequence[str],
    *,
    by_token: bool = False,
    batch_size: int = 8,
) -> list[Ranking]:
    """Returns which of the same choices a model finds most probable after each input: rank classification.

        t5x_lite.rank(flan, ["Is water wet?"], ["yes", "no"])[0].best

    Args:
      pretrained: what `load` returns, of a model that decodes.
      inputs: as the model is to read them.
      choices: different answers; of those that are equally good, the first is best.
      by_token: whether log-likelihoods are divided by the number of tokens, which favours long answers less badly.
      batch_size: texts scored at once.

    Raises:
      ValueError: if there are no choices, one is there twice, or the model does not decode.
    """
    if not choices or len(set(choices)) < len(choices):
        raise ValueError(f"choices are {list(choices)}: give at least one, and each once")
    pairs = [(text, choice) for text in inputs for choice in choices]
    scored = score(pretrained, [text for text, _ in pairs], [choice for _, choice in pairs], batch_size=batch_size)

    def value(one: Score) -> float:
        return one.log_likelihood / len(one.log_probs) if by_token else one.log_likelihood

    by_input = (dict(zip(choices, of_input, strict=True)) for of_input in batched(scored, len(choices)))
    return [Ranking(max(scores, key=lambda choice: value(scores[choice])), scores) for scores in by_input]
