# SPDX-License-Identifier: Apache-2.0
"""Lines of inputs in, JSON lines with what a model makes of them out: blanks filled in, texts, labels."""

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from t5x_lite.checkpoints.load import Pretrained
from t5x_lite.config import GenerationConfig, InferConfig
from t5x_lite.inference.engine import Answer, Request, answer_batch, batched, fill_in, laid_out
from t5x_lite.inference.loop import HERE, Devices

WINDOW_BATCHES = 16  # lines are sorted by length within so many batches, and written in their order


def generate(pretrained: Pretrained, inputs: Sequence[str], *, batch_size: int = 8, **settings: Any) -> list[Any]:
    """Returns what a model answers to each of some texts: a str, or a list of them with num_return_sequences above 1.

        generate(load("my_run"), ["translate English to German: Good morning."], num_beams=4)

    Args:
      pretrained: what `load` returns.
      inputs: as the model is to read them.
      batch_size: texts decoded at once.
      **settings: fields of `GenerationConfig`, such as max_new_tokens, temperature or num_beams.

    Raises:
      ValueError: if a setting is out of its range, or contradicts another one.
      TypeError: if there is no such setting.
    """
    config = dataclasses.replace(pretrained.generation, **settings)
    options = InferConfig(checkpoint="", batch_size=batch_size)
    answers = [answer for _, answer in _answers(pretrained, enumerate(inputs), options, config)]
    if config.num_return_sequences > 1:
        return [[decoded.text for decoded in answer.sequences] for answer in answers]
    return [answer.sequences[0].text for answer in answers]


def answer_lines(
    pretrained: Pretrained,
    numbered: Iterable[tuple[int, str]],
    options: InferConfig,
    config: GenerationConfig,
    *,
    prompt: Callable[[str], str] = str,
    devices: Devices = HERE,
) -> Iterator[dict[str, Any]]:
    """Yields a row for each line, in their order.

    Args:
      pretrained: what `load` returns.
      numbered: the inputs, each with its number, which what is drawn depends on.
      options: of which `template`, `output` and what makes prompts mean nothing here.
      config: how to decode.
      prompt: makes what the model reads from a line.
      devices: that the model is on.
    """
    for line, answer in _answers(pretrained, iter(numbered), options, config, prompt=prompt, devices=devices):
        best = answer.sequences[0]
        row: dict[str, Any] = {"inputs": line, "prediction": best.text}
        if pretrained.architecture.traits.fills_spans:
            row["filled"] = fill_in(line, best.text)
        if answer.probabilities:
            row["probabilities"] = answer.probabilities
        if best.score is not None:
            row["score"] = best.score
        if len(answer.sequences) > 1:
            row["predictions"] = [decoded.text for decoded in answer.sequences]
            if best.score is not None:
                row["scores"] = [decoded.score for decoded in answer.sequences]
        if options.log_probs and best.log_probs:
            row |= {"tokens": best.tokens, "log_probs": best.log_probs}
        yield row


def _answers(
    pretrained: Pretrained,
    numbered: Iterator[tuple[int, str]],
    options: InferConfig,
    config: GenerationConfig,
    *,
    prompt: Callable[[str], str] = str,
    devices: Devices = HERE,
) -> Iterator[tuple[str, Answer]]:
    """Yields each line with its answer; lines of similar length are decoded together."""
    # From a pipe, lines are answered as they come.
    pretrained = laid_out(pretrained)
    num_batches = 1 if options.reads_pipe and options.checkpoint else WINDOW_BATCHES
    while window := list(itertools.islice(numbered, options.batch_size * num_batches)):
        answers: dict[int, Answer] = {}
        by_length = sorted(window, key=lambda numbered: -len(numbered[1]))
        for batch in batched(by_length, options.batch_size):
            requests = [Request(prompt(line), config, stream=number) for number, line in batch]
            answered = answer_batch(
                pretrained,
                requests,
                batch_size=options.batch_size,
                scores=options.log_probs or config.temperature > 0,
                devices=devices,
            )
            answers |= {number: answer for (number, _), answer in zip(batch, answered, strict=True)}
        yield from ((line, answers[number]) for number, line in window)
