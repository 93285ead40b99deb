# SPDX-License-Identifier: Apache-2.0
"""What the tasks share: the data set of a task, fields of a record, words for classes."""

from collections.abc import Mapping, Sequence
from typing import Any

from t5x_lite.config import TaskConfig
from t5x_lite.data.records.templates import Template
from t5x_lite.data.sources.base import BadRecord, Record

UNKNOWN = "<unk>"  # T5's targets in a test set that keeps its labels to itself
UNKNOWN_LABEL = -1


def from_tfds(
    data_set: str,
    *,
    preprocess: str | None = None,
    inputs: str = "{inputs}",
    targets: str = "{targets}",
    metrics: tuple[str, ...] = (),
    splits: tuple[str, str] = ("train", "validation"),
) -> TaskConfig:
    """Returns a task on two splits of a TFDS data set.

    Args:
      data_set: NAME/CONFIG:VERSION, as TFDS has it.
      preprocess: package.module:NAME, what makes a record's inputs and targets; None where the templates are enough.
      inputs: template of what the model is given.
      targets: template of what is asked of it.
      metrics: what is measured on held-out predictions.
      splits: the one to learn from, the held-out one.
    """
    train, held_out = splits
    return TaskConfig(
        source=f"tfds:{data_set}@{train}",
        eval_source=f"tfds:{data_set}@{held_out}",
        preprocess=preprocess,
        inputs=inputs,
        targets=targets,
        metrics=metrics,
    )


class Classification:
    """T5's general format of a classification: fields behind their names, a word for the class.

    Called with a record, it returns its `inputs` and `targets`, or raises BadRecord.

    Args:
      inputs: template of the inputs. T5 puts the fields in the order of their names unless it says otherwise.
      classes: words for the labels 0, 1, ...

    Source: T5 `preprocessors.glue`.
    """

    def __init__(self, inputs: str, classes: tuple[str, ...]):
        self.inputs, self.classes = Template(inputs, "T5's format"), classes

    def __call__(self, record: Record) -> Record:
        return {"inputs": self.inputs(record, "a record"), "targets": class_word(record, self.classes)}


def class_word(record: Record, classes: Sequence[str]) -> str:
    """Returns the word for a record's label.

    Raises:
      BadRecord: if the label is no class.
    """
    label: int = take(record, "label", int)
    if label == UNKNOWN_LABEL:
        return UNKNOWN
    if not 0 <= label < len(classes):
        raise BadRecord(
            f"a record has {label} in 'label', and the classes of T5's format are 0 to {len(classes) - 1} "
            f"({', '.join(classes)}), or {UNKNOWN_LABEL} where it is not known: mend or remove the record"
        )
    return classes[label]


def take(record: Record, name: str, *kinds: type) -> Any:
    """Returns a field of a record; a dot leads into a nested one, as in `idx.query`.

    Raises:
      BadRecord: if there is none, or it is of none of the `kinds`.
    """
    value: Any = record
    for key in name.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    if not isinstance(value, kinds):
        raise _unfit(record, name, "nothing" if value is None else type(value).__name__, kinds[0].__name__)
    return value


def take_texts(record: Record, name: str) -> list[str]:
    """Returns a field that is a list of texts; raises BadRecord as `take` does."""
    texts = take(record, name, list)
    for text in texts:
        if not isinstance(text, str):
            raise _unfit(record, name, f"a list with {type(text).__name__}", "a list of str")
    return texts


def _unfit(record: Record, name: str, found: str, wanted: str) -> BadRecord:
    return BadRecord(
        f"a record has {found} in {name!r}, and T5's format needs {wanted}; it has the fields "
        f"{', '.join(map(str, record))}: read the data set that the format is made for, or rename the fields"
    )
