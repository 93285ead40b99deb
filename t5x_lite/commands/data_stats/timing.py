# SPDX-License-Identifier: Apache-2.0
"""Prepares the text of a run, timing each stage."""

import dataclasses
import pathlib
import sys
from collections.abc import Mapping
from typing import Any

from t5x_lite.data.corpus.first_look import check_text
from t5x_lite.data.corpus.open import CORPUS, Corpora, is_prepared
from t5x_lite.data.corpus.prepare import prepare_corpora, prepare_text
from t5x_lite.data.corpus.tokenize import Preparation, tokenize_portions
from t5x_lite.data.records.rows import LeftOut, read_rows
from t5x_lite.training.logging import Stopwatch
from t5x_lite.training.resolve import Run
from t5x_lite.training.run_dir import RunDirectory

READ_CHARACTERS = 2_000_000  # read again, to separate reading time from tokenising time


@dataclasses.dataclass(frozen=True)
class Making:
    """Preparation time of a task's text in one process, in seconds."""

    opening_source_s: float
    reading_s: float  # estimated by reading a part again
    tokenising_s: float  # the rest: tokenising and writing shards


@dataclasses.dataclass(frozen=True)
class Timings:
    """Preparation time of a run's text, in seconds."""

    vocabulary_s: float | None  # loading or training it; None if all text was prepared before
    making: Mapping[str, Making]  # by directory, only for text prepared now
    checking_s: float  # opening the prepared text and verifying its checksums


def prepare_timed(run: Run) -> tuple[Corpora, Timings]:
    """Opens the text in a run directory, which may be in use by a training run, or prepares it."""
    path = pathlib.Path(run.config.run_dir)
    if is_prepared(run.tasks, path):
        return _open_timed(run, None, {})
    check_text(run.tasks)
    making: dict[str, Making] = {}
    whole, tokenizing = Stopwatch(), []

    def tokenize(preparation: Preparation) -> list[dict[str, Any]]:
        watch = Stopwatch()
        parts, making[str(preparation.directory)] = tokenize_timed(preparation)
        tokenizing.append(watch.lap())
        return parts

    with RunDirectory(path) as directory:
        prepare_text(
            run.tasks,
            path / CORPUS,
            tokenizer_directory=directory.path,
            announce=lambda message: print(message, file=sys.stderr),
            tokenize=tokenize,
        )
        return _open_timed(run, whole.lap() - sum(tokenizing), making)


def tokenize_timed(preparation: Preparation) -> tuple[list[dict[str, Any]], Making]:
    """Tokenises the text of a preparation in this process; returns its parts and the times."""
    watch = Stopwatch()
    portions = preparation.portions()
    opening_s = watch.lap()
    parts = tokenize_portions(preparation, portions)
    making_s = watch.lap()
    num_read = _read_again(preparation, portions[0].field)
    reading_s = watch.lap() * sum(part["num_characters"] for part in parts) / max(num_read, 1)
    reading_s = min(reading_s, making_s)
    return parts, Making(opening_s, reading_s, making_s - reading_s)


def _read_again(preparation: Preparation, field: str) -> int:
    """Reads the first records of a source; returns the number of characters read."""
    num_characters, source = 0, preparation.open(field).records
    for row in read_rows(preparation.task, source, range(len(source)), LeftOut()):
        num_characters += sum(map(len, row.texts))
        if num_characters >= READ_CHARACTERS:
            break
    return num_characters


def _open_timed(run: Run, vocabulary_s: float | None, making: Mapping[str, Making]) -> tuple[Corpora, Timings]:
    watch = Stopwatch()
    corpora = prepare_corpora(run.tasks, pathlib.Path(run.config.run_dir))
    return corpora, Timings(vocabulary_s, making, watch.lap())
