# SPDX-License-Identifier: Apache-2.0
"""Text generation for any number of inputs, batched by length."""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from t5x_lite.checkpoints.load import Pretrained
from t5x_lite.config.generation import RENAMED
from t5x_lite.config.texts import as_texts
from t5x_lite.inference.engine import (
    WINDOW_BATCHES,
    Answer,
    Request,
    answer_batch,
    batched,
    check_call,
    for_decoding,
    run_by_length,
)
from t5x_lite.inference.loop import devices_of


def generate(pretrained: Pretrained, inputs: Iterable[str], *, batch_size: int = 8, **settings: Any) -> list[Any]:
    """Generates an output for each input text: a str, or a list of them if num_return_sequences is above 1.

        generate(load("my_run"), ["translate English to German: Good morning."], num_beams=4)

    Args:
      pretrained: the model, as returned by `load`.
      inputs: a list, or another iterable, of input texts.
      batch_size: number of texts to decode at once.
      **settings: fields of `GenerationConfig`, such as max_new_tokens, temperature or num_beams.

    Raises:
      ValueError: if a setting is out of range or contradicts another one.
      TypeError: if a setting does not exist, the inputs are a single text, or the model is not a result of `load`.
    """
    check_call(pretrained, batch_size)
    inputs = as_texts(inputs, "inputs")
    settings = {RENAMED.get(name, name): value for name, value in settings.items()}
    config = dataclasses.replace(pretrained.generation, **settings)
    requests = [Request(text, config, stream) for stream, text in enumerate(inputs)]
    answers = answer_all(pretrained, requests, batch_size=batch_size, scores=config.temperature > 0)
    if config.num_return_sequences > 1:
        return [[decoded.text for decoded in answer.sequences] for answer in answers]
    return [answer.sequences[0].text for answer in answers]


def answer_all(
    pretrained: Pretrained,
    requests: Iterable[Request],
    *,
    batch_size: int,
    num_batches: int = WINDOW_BATCHES,
    scores: bool = False,
) -> Iterator[Answer]:
    """Yields the answer to each request, in order; all configs must have the same `batch_key`.

    Reads `num_batches` batches ahead, to decode texts of similar length together. The batch size is rounded up to a
    multiple of the model's data-parallel devices.
    """
    pretrained, devices = for_decoding(pretrained), devices_of(pretrained.model)
    batch_size = devices.rounded(batch_size)

    def run(sorted_requests: Sequence[Request]) -> Iterator[Answer]:
        for batch in batched(sorted_requests, batch_size):
            yield from answer_batch(pretrained, batch, batch_size=batch_size, scores=scores, devices=devices)

    window = batch_size * num_batches
    yield from run_by_length(requests, run, length=lambda request: len(request.text), window=window)
