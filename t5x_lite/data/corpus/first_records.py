# SPDX-License-Identifier: Apache-2.0
"""Reads the first records of a task's sources, before the text is prepared.

A small source is read as a whole, as preparing it would; of a large one, a few records of each kind of file.
"""

import pathlib
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from t5x_lite.config import DOCSTRINGS, TaskConfig
from t5x_lite.data.corpus.manifest import check_not_empty
from t5x_lite.data.corpus.shards import SPLITS
from t5x_lite.data.corpus.tokenize import Preparation
from t5x_lite.data.records.rows import LeftOut, is_held_out, read_rows
from t5x_lite.data.sources.base import InMemory, Source
from t5x_lite.data.sources.glimpse import few_of_each


class HeldOut(NamedTuple):
    """References of held-out pairs, as they will be written for metrics."""

    references: list[dict[str, Any]]
    is_whole: bool  # whether there are no others


def check_first_records(task: TaskConfig, splits: tuple[str, ...] = SPLITS) -> HeldOut:
    """Reads the first records of a task that is not prepared, and returns those held out.


    Raises:
      ValueError: if a source, a template or one of these records is invalid, or a split is empty.
    """
    with tempfile.TemporaryDirectory(prefix="t5x_lite_look_") as temporary:
        cache, left_out = pathlib.Path(temporary), LeftOut()
        fields = Preparation(task, cache, cache, splits).fields
        references, is_whole = [], True
        counts: dict[str, int] = dict.fromkeys(SPLITS, 0)
        list(read_rows(task, InMemory([], ""), (), left_out))  # checks the templates if no record can be read
        for field, divided in fields.items():
            for source, count in _looked_at(task, getattr(task, field), field, cache):
                is_whole &= count is None
                numbers = range(len(source) if count is None else min(count, len(source)))
                for row in read_rows(task, source, numbers, left_out):
                    split = divided[-1 if is_held_out(row.texts[0], task.eval_percent) else 0]
                    counts[split] += 1
                    references += [row.reference] if split == SPLITS[-1] else []
        if not is_whole:
            return HeldOut(references, is_whole=False)
        totals = {f"num_{split}_documents": number for split, number in counts.items()}
        skipped = {"num_skipped": len(left_out.skipped), "parts": [{"first_skipped": left_out.skipped[:1]}]}
        check_not_empty(task, totals | skipped | {"num_short": left_out.num_short}, splits)
        return HeldOut(references, is_whole=True)


def _looked_at(
    task: TaskConfig, names: str | Sequence[str], field: str, cache: pathlib.Path
) -> Iterator[tuple[Source, int | None]]:
    """Yields the sources to read, each with the number of records, or None for all."""
    if names == DOCSTRINGS:  # whose packages `first_look` checks; reading them takes seconds
        yield InMemory(["x" * max(task.min_characters, 1)], DOCSTRINGS), 1
    else:
        yield from few_of_each(task, (names,) if isinstance(names, str) else names, f"task.{field}", cache)
