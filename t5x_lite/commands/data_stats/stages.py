# SPDX-License-Identifier: Apache-2.0
"""The text of a run, and how long each stage of making it takes."""

import dataclasses
import pathlib
import sys
from collections.abc import Mapping
from typing import Any

from t5x_lite.commands.data_stats.findings import Making
from t5x_lite.config import RunConfig
from t5x_lite.data.corpus.open import CORPUS, Corpora, is_prepared
from t5x_lite.data.corpus.prepare import prepare_corpora, prepare_text
from t5x_lite.data.corpus.tokenize import Portion, Preparation, tokenize_portions
from t5x_lite.data.records.rows import LeftOut, read_rows
from t5x_lite.training.logging import Stopwatch
from t5x_lite.training.run_dir import RunDirectory

READ_CHARACTERS = 2_000_000  # of the text are read once more, to tell reading from tokenising


@dataclasses.dataclass(frozen=True)
class Stages:
    """Seconds that the text of a run took."""

    vocabulary_s: float | None  # reading one or training it; None if all text was there already
    making: Mapping[str, Making]  # by directory of the task's text; none of one that was there already
    checking_s: float  # opening what is made, every file's checksum compared


def open_corpora(cfg: RunConfig) -> tuple[Corpora, Stages]:
    """Opens the text of a run directory, which a training may be using; makes it if need be.

    Raises:
      ValueError: if the text or the task is wrong.
    """
    path = pathlib.Path(cfg.run_dir)
    if is_prepared(cfg.task, path):
        return _opened(cfg, None, {})
    making: dict[str, Making] = {}
    whole, in_making = Stopwatch(), []

    def make(preparation: Preparation) -> list[dict[str, Any]]:
        watch = Stopwatch()
        parts, making[str(preparation.directory)] = make_timed(preparation)
        in_making.append(watch.lap())
        return parts

    with RunDirectory(path) as directory:
        prepare_text(cfg.task, path / CORPUS, tokenizer_directory=directory.path, announce=_say, tokenize=make)
        return _opened(cfg, whole.lap() - sum(in_making), making)


def make_timed(preparation: Preparation) -> tuple[list[dict[str, Any]], Making]:
    """Makes all of a preparation in this process.

    Returns:
      Its parts, as `tokenize_portions` does, and how long it took.
    """
    watch = Stopwatch()
    portions = preparation.portions()
    opening_s = watch.lap()
    parts = tokenize_portions(preparation, portions)
    making_s = watch.lap()
    num_read = _read_again(preparation, portions)
    reading_s = watch.lap() * sum(part["num_characters"] for part in parts) / max(num_read, 1)
    reading_s = min(reading_s, making_s)
    return parts, Making(opening_s, reading_s, making_s - reading_s)


def _read_again(preparation: Preparation, portions: list[Portion]) -> int:
    """Reads the first records of a source as tokenising does; returns how many characters they made."""
    portion, num_characters = portions[0], 0
    source = preparation.open(portion.field).records
    for row in read_rows(preparation.task, source, range(len(source)), LeftOut()):
        num_characters += sum(map(len, row.texts))
        if num_characters >= READ_CHARACTERS:
            break
    return num_characters


def _opened(cfg: RunConfig, vocabulary_s: float | None, making: Mapping[str, Making]) -> tuple[Corpora, Stages]:
    watch = Stopwatch()
    corpora = prepare_corpora(cfg.task, pathlib.Path(cfg.run_dir))
    return corpora, Stages(vocabulary_s, making, watch.lap())


def _say(message: str) -> None:
    print(message, file=sys.stderr)
