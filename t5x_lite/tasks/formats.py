# SPDX-License-Identifier: Apache-2.0
"""Building blocks of T5's tasks: TFDS splits, typed access to record fields, and class labels as words."""

from collections.abc import Mapping, Sequence
from typing import Any

from t5x_lite.config import TaskConfig
from t5x_lite.data.records.missing import is_missing
from t5x_lite.data.records.templates import Template
from t5x_lite.data.sources.base import BadRecord, Record

UNKNOWN = "<unk>"  # T5's target in test sets without public labels
UNKNOWN_LABEL = -1


def from_tfds(
    dataset: str,
    *,
    inputs: str = "{inputs}",
    targets: str = "{targets}",
    splits: tuple[str, str] = ("train", "validation"),
    **fields: Any,
) -> TaskConfig:
    """Returns a task on the training and held-out `splits` of a TFDS dataset, NAME/CONFIG:VERSION."""
    source, eval_source = (f"tfds:{dataset}@{split}" for split in splits)
    return TaskConfig(source=source, eval_source=eval_source, inputs=inputs, targets=targets, **fields)


class Classification:
    """T5's classification format: a function from a record to its `inputs` and `targets`; raises BadRecord.

    Args:
      inputs: the template of the inputs: each field after its name, usually in alphabetical order.
      classes: the words for the labels 0, 1, ...

    Source: T5 `preprocessors.glue`.
    """

    def __init__(self, inputs: str, classes: tuple[str, ...]):
        self.inputs, self.classes = Template(inputs, "T5's format"), classes

    def __call__(self, record: Record) -> Record:
        return {"inputs": self.inputs(record, "a record"), "targets": class_word(record, self.classes)}


def class_word(record: Record, classes: Sequence[str]) -> str:
    """Returns the word for a record's label, or raises BadRecord if the label is out of range."""
    label: int = take(record, "label", int)
    if label == UNKNOWN_LABEL:
        return UNKNOWN
    if not 0 <= label < len(classes):
        raise BadRecord(
            f"a record has {label} in 'label', but the classes of T5's format are 0 to {len(classes) - 1} "
            f"({', '.join(classes)}), or {UNKNOWN_LABEL} if unknown: fix or remove the record"
        )
    return classes[label]


def take(record: Record, name: str, *kinds: type) -> Any:
    """Returns a possibly nested field, such as `idx.query`; raises BadRecord if it is missing or not of `kinds`."""
    value: Any = record
    for key in name.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    if is_missing(value) or not isinstance(value, kinds):
        raise _mismatch(record, name, "nothing" if is_missing(value) else type(value).__name__, kinds[0].__name__)
    return value


def take_texts(record: Record, name: str) -> list[str]:
    """Returns a field that is a list of strings, or raises BadRecord."""
    texts = take(record, name, list)
    for text in texts:
        if not isinstance(text, str):
            raise _mismatch(record, name, f"a list with {type(text).__name__}", "a list of str")
    return texts


def _mismatch(record: Record, name: str, actual: str, expected: str) -> BadRecord:
    return BadRecord(
        f"a record has {actual} in {name!r}, but T5's format needs {expected}; its fields are "
        f"{', '.join(map(str, record))}: read the dataset that the format is for, or rename the fields"
    )
