# SPDX-License-Identifier: Apache-2.0
"""Turns records into the pairs of a supervised task."""

from collections.abc import Callable, Mapping
from typing import Any

from t5x_lite.config import TaskConfig
from t5x_lite.data.records.missing import without_missing
from t5x_lite.data.records.rows import Row
from t5x_lite.data.records.templates import Template
from t5x_lite.data.sources.base import BadRecord

TRUTH_VALUES = ("True", "False")
# Fields that `task.preprocess` may add for metrics.
REFERENCE_FIELDS = ("answers", "group", "context", "is_correct", "weight")


def pair_maker(task: TaskConfig) -> Callable[[Mapping[str, Any], str], Row]:
    """Returns a function from a record and its location to the pair of a task with inputs and targets."""
    assert task.inputs is not None
    assert task.targets is not None
    inputs, targets = Template(task.inputs, "task.inputs"), Template(task.targets, "task.targets")
    choices, labels = task.choices, set(task.labels or ())
    if choices is not None:  # YAML's true is the key True, but templates write true, as JSON does
        choices = {word.lower(): choices[word] for word in TRUTH_VALUES if word in choices} | choices

    def pair(record: Mapping[str, Any], where: str) -> Row:
        answer = targets(record, where)
        if choices is not None:
            if answer not in choices:
                raise BadRecord(
                    f"{where} has the targets {answer!r}, but task.choices has only {', '.join(choices)}: add it there"
                )
            answer = choices[answer]
        if labels and answer not in labels and (unknown := set(answer.split()) - labels):
            raise BadRecord(
                f"{where} has the targets {answer[:80]!r}, but task.labels lacks {sorted(unknown)[0]!r}: add it there, "
                "or fix the record"
            )
        extra = {}
        if task.preprocess is not None:
            given = {name: without_missing(record.get(name)) for name in REFERENCE_FIELDS}
            extra = {name: value for name, value in given.items() if value is not None}
        return Row((inputs(record, where), answer), {"targets": answer} | extra)

    return pair
