# SPDX-License-Identifier: Apache-2.0
"""What a task makes of records: texts to learn from, and a count of what is left out."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from t5x_lite.config import TaskConfig
from t5x_lite.data.records.templates import Template
from t5x_lite.data.sources import skip
from t5x_lite.data.sources.python import import_object
from t5x_lite.data.sources.records import BadRecord, Record, Source

Made = TypeVar("Made")
REFERENCE_FIELDS = ("answers", "group")  # what `task.preprocess` may add to a record for the metrics


class Row(NamedTuple):
    """A document, or a pair of a supervised task."""

    texts: tuple[str, ...]  # (text,), or (inputs, targets)
    reference: dict[str, Any]  # what metrics compare a prediction with; empty of text


@dataclasses.dataclass
class LeftOut:
    """What a task did not use."""

    num_short: int = 0  # documents under `task.min_characters`, pairs with an empty side
    skipped: list[str] = dataclasses.field(default_factory=list)  # what was wrong with each bad record


def read_rows(task: TaskConfig, source: Source, numbers: Sequence[int], left_out: LeftOut) -> Iterator[Row]:
    """Yields the rows that some records of a source make, in order.

    Args:
      task: says what to make of a record.
      source: the records.
      numbers: which of them.
      left_out: is added to.

    Raises:
      BadRecord: at the first malformed record, unless `task.bad_records` is skip.
    """
    make_rows = _row_maker(task)
    fewest = max(1, task.min_characters if task.inputs is None else 1)
    for number in numbers:
        try:
            rows = make_rows(source[number], source.where(number))
        except BadRecord as error:
            skip(error, task, left_out.skipped)
            continue
        for row in rows:
            if min(len(text.strip()) for text in row.texts) < fewest:
                left_out.num_short += 1
            else:
                yield row


def input_maker(task: TaskConfig) -> Callable[[Record, str], list[str]]:
    """Returns what turns a record, and where it came from, into inputs; it needs no targets."""
    return _preprocessed(task, Template(task.inputs or "", "task.inputs"))


def _row_maker(task: TaskConfig) -> Callable[[Record, str], list[Row]]:
    """Returns what turns a record, and where it came from, into rows."""
    return _preprocessed(task, _text_maker(task) if task.inputs is None or task.targets is None else _pair_maker(task))


def _preprocessed(
    task: TaskConfig, make: Callable[[Mapping[str, Any], str], Made]
) -> Callable[[Record, str], list[Made]]:
    """Returns `make` of what `task.preprocess` makes of a record."""
    if task.preprocess is None:
        return lambda record, where: [make(record, where)]
    preprocess = import_object(task.preprocess, "task.preprocess")

    def made_of(record: Record, where: str) -> list[Made]:
        try:
            made = preprocess(record)
        except Exception as error:  # the function is the user's
            raise BadRecord(
                f"{where} does not suit task.preprocess {task.preprocess} ({type(error).__name__}: {error}): mend the "
                "record or the function"
            ) from error
        records = [made] if isinstance(made, Mapping) else made
        if not isinstance(records, (list, tuple)) or not all(isinstance(item, Mapping) for item in records):
            raise ValueError(
                f"task.preprocess {task.preprocess} returned a {type(made).__name__} for {where}: make it return a "
                "mapping, or a list of mappings"
            )
        return [make(item, where) for item in records]

    return made_of


def _text_maker(task: TaskConfig) -> Callable[[Mapping[str, Any], str], Row]:
    text = Template(task.text, "task.text")
    return lambda record, where: Row((text(record, where),), {})


def _pair_maker(task: TaskConfig) -> Callable[[Mapping[str, Any], str], Row]:
    assert task.inputs is not None
    assert task.targets is not None
    inputs, targets = Template(task.inputs, "task.inputs"), Template(task.targets, "task.targets")
    choices, labels = task.choices, set(task.labels or ())

    def pair(record: Mapping[str, Any], where: str) -> Row:
        answer = targets(record, where)
        if choices is not None:
            if answer not in choices:
                raise BadRecord(
                    f"{where} has the targets {answer!r}, and task.choices names {', '.join(choices)}: add it there"
                )
            answer = choices[answer]
        if labels and answer not in labels and (unknown := set(answer.split()) - labels):
            raise BadRecord(
                f"{where} has the targets {answer[:80]!r}, and task.labels lacks {sorted(unknown)[0]!r}: add it there, "
                "or mend the record"
            )
        extra = {name: record[name] for name in REFERENCE_FIELDS if name in record and task.preprocess is not None}
        return Row((inputs(record, where), answer), {"targets": answer} | extra)

    return pair
