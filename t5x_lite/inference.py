# SPDX-License-Identifier: Apache-2.0
"""Lines of inputs in, JSON lines with what a model makes of them out: blanks filled in, texts, labels.

Shape letters: B batch, S input tokens.
"""

import contextlib
import itertools
import json
import os
import pathlib
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TextIO

import numpy as np

from t5x_lite.config import InferConfig
from t5x_lite.decode.answers import label_probabilities, make_answer
from t5x_lite.pretrained import Pretrained, load

SENTINEL = re.compile(r"<extra_id_(\d+)>")
LENGTH_BUCKET = 64  # inputs are padded to a multiple of it, so that few lengths are compiled


def run(options: InferConfig) -> None:
    """Answers every line of a file.

    Each row of the output has `inputs`, the line; and `prediction`, what the model decoded, or the labels it chose. An
    encoder-decoder's has `filled` too, the line with its blanks replaced; a sequence classifier's `probabilities` of
    all labels.

    Raises:
      ValueError: if the checkpoint or the input cannot be read.
    """
    with _lines(options.input) as lines:
        pretrained = load(options.checkpoint)
        with _writer(options.output) as output:
            for row in fill_in_lines(pretrained, lines, options):
                output.write(json.dumps(row, ensure_ascii=False) + "\n")
                output.flush()


def generate(
    pretrained: Pretrained, inputs: Sequence[str], *, max_new_tokens: int = 64, batch_size: int = 8
) -> list[str]:
    """Returns what a model answers to each of some texts, by greedy choice.

    Args:
      pretrained: what `load` returns.
      inputs: as the model is to read them.
      max_new_tokens: at most so many are decoded of each.
      batch_size: texts decoded at once.
    """
    options = InferConfig(checkpoint="", max_new_tokens=max_new_tokens, batch_size=batch_size)
    return [row["prediction"] for row in fill_in_lines(pretrained, inputs, options)]


def fill_in_lines(pretrained: Pretrained, lines: Iterable[str], options: InferConfig) -> Iterator[dict[str, Any]]:
    """Yields a row for each line, in their order."""
    model, tokenizer, architecture = pretrained.model, pretrained.tokenizer, pretrained.architecture
    answer = make_answer(architecture, tokenizer, max_new_tokens=options.max_new_tokens)
    for batch in batched((line.rstrip("\n") for line in lines), options.batch_size):
        encoded = [[*tokenizer.encode(line), tokenizer.eos_id] for line in batch]
        inputs_BS = _padded(encoded, options.batch_size)
        answers = answer(model, inputs_BS)
        rows = [{"inputs": line, "prediction": text} for line, text in zip(batch, answers, strict=False)]
        if architecture.name == "encoder_decoder":
            rows = [row | {"filled": fill_in(row["inputs"], row["prediction"])} for row in rows]
        if architecture.name == "sequence_classifier":
            shares = label_probabilities(model, inputs_BS, architecture.labels)
            rows = [row | {"probabilities": share} for row, share in zip(rows, shares, strict=False)]
        yield from rows


def fill_in(text: str, prediction: str) -> str:
    """Replaces each sentinel of the text by what the prediction says after it; one it leaves out stays as it is."""
    _, *numbered = SENTINEL.split(prediction)
    spans: dict[str, str] = {}
    for number, span in zip(numbered[::2], numbered[1::2], strict=True):
        spans.setdefault(number, span.strip())
    return SENTINEL.sub(lambda match: spans.get(match[1], match[0]), text)


def batched(items: Iterable[str], size: int) -> Iterator[list[str]]:
    """Yields lists of `size` items, the last one shorter."""
    iterator = iter(items)
    while batch := list(itertools.islice(iterator, size)):
        yield batch


def _padded(encoded: list[list[int]], batch_size: int) -> np.ndarray:
    """Returns inputs_BS, zero-padded to a whole batch and a whole bucket of lengths."""
    longest = max(len(ids) for ids in encoded)
    inputs_BS = np.zeros((batch_size, -(-longest // LENGTH_BUCKET) * LENGTH_BUCKET), np.int32)
    for row, ids in zip(inputs_BS, encoded, strict=False):
        row[: len(ids)] = ids
    return inputs_BS


@contextlib.contextmanager
def _lines(path: str) -> Iterator[TextIO]:
    if path == "-":
        yield sys.stdin
        return
    if not pathlib.Path(path).is_file():
        raise ValueError(
            f"--input {path} is not a file: name a text file with an example a line, or - for standard input"
        )
    with open(path, encoding="utf-8") as lines:
        yield lines


@contextlib.contextmanager
def _writer(path: str) -> Iterator[TextIO]:
    if path == "-":
        yield sys.stdout
        return
    if not os.path.isdir(os.path.dirname(path) or "."):
        raise ValueError(f"--output {path} is in a directory that does not exist: make it, or name another file")
    with open(path, "w", encoding="utf-8") as output:
        yield output
