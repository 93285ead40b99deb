# SPDX-License-Identifier: Apache-2.0
"""Turns records into the rows of a task: documents or pairs."""

import dataclasses
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

from t5x_lite.config import TaskConfig
from t5x_lite.data.records.templates import Template
from t5x_lite.data.sources import skip
from t5x_lite.data.sources.base import BadRecord, Located, Record, Source

Made = TypeVar("Made")


class Row(NamedTuple):
    """A document, or an (inputs, targets) pair of a supervised task."""

    texts: tuple[str, ...]  # (text,), or (inputs, targets)
    reference: dict[str, Any]  # for metrics; empty for a document


@dataclasses.dataclass
class LeftOut:
    """The records that a task leaves out."""

    num_short: int = 0  # documents under `task.min_characters`, and pairs with an empty side
    skipped: list[str] = dataclasses.field(default_factory=list)  # the error of each bad record


def read_rows(task: TaskConfig, source: Source, numbers: Iterable[int], left_out: LeftOut) -> Iterator[Row]:
    """Yields the rows of the records with these numbers, and adds the unused records to `left_out`.

    Raises:
      BadRecord: at the first malformed record, unless `task.bad_records` is skip.
    """
    if task.inputs is None or task.targets is None:
        make_row = _text_maker(task)
    else:
        from t5x_lite.data.records.pairs import pair_maker

        make_row = pair_maker(task)
    min_characters = max(1, task.min_characters if task.inputs is None else 1)
    for row in convert(task, source.read(numbers), maker(task, make_row), left_out.skipped):
        if min(len(text.strip()) for text in row.texts) < min_characters:
            left_out.num_short += 1
        else:
            yield row


def convert(
    task: TaskConfig, records: Iterable[Located], make: Callable[[Record, str], list[Made]], skipped: list[str]
) -> Iterator[Made]:
    """Yields the results of `make(record, location)` for each record; raises errors or appends them to `skipped`."""
    for where, record in records:
        try:
            if isinstance(record, BadRecord):
                raise record
            made = make(record, where)
        except BadRecord as error:
            skip(error, task, skipped)
        else:
            yield from made


def is_held_out(text: str, eval_percent: float) -> bool:
    """Returns whether a document, or a pair with these inputs, is held out.

    The split hashes the text alone, so it is independent of other documents, seeds and machines, and keeps pairs with
    the same inputs together. `eval_percent` is the expected percentage of held-out documents.
    """
    digest = hashlib.blake2b(text.encode(), digest_size=6).digest()  # 48 bits are exact in a float
    return int.from_bytes(digest, "big") / 2**48 < eval_percent / 100


def maker(task: TaskConfig, make: Callable[[Mapping[str, Any], str], Made]) -> Callable[[Record, str], list[Made]]:
    """Returns a function that applies `task.preprocess` to a record, and `make` to each result."""
    if task.preprocess is None:
        return lambda record, where: [make(record, where)]
    from t5x_lite.data.records.preprocess import preprocessed

    return preprocessed(task, make)


def _text_maker(task: TaskConfig) -> Callable[[Mapping[str, Any], str], Row]:
    text = Template(task.text, "task.text")
    return lambda record, where: Row((text(record, where),), {})
