# SPDX-License-Identifier: Apache-2.0
"""Applies `task.preprocess`, a user's function, to records."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from t5x_lite.config import TaskConfig
from t5x_lite.data.sources.base import BadRecord, Record
from t5x_lite.data.sources.python import import_object

Made = TypeVar("Made")


def preprocessed(
    task: TaskConfig, make: Callable[[Mapping[str, Any], str], Made]
) -> Callable[[Record, str], list[Made]]:
    """Returns a function that applies `task.preprocess` to a record, and `make` to each result."""
    assert task.preprocess is not None
    preprocess = import_object(task.preprocess, "task.preprocess")

    def preprocess_and_make(record: Record, where: str) -> list[Made]:
        try:
            made = preprocess(record)
        except Exception as error:  # it is the user's function
            raise BadRecord(
                f"{where} does not suit task.preprocess {task.preprocess} ({type(error).__name__}: {error}): fix the "
                "record or the function"
            ) from error
        records = [made] if isinstance(made, Mapping) else made
        if not isinstance(records, (list, tuple)) or not all(isinstance(item, Mapping) for item in records):
            raise ValueError(
                f"task.preprocess {task.preprocess} returned a {type(made).__name__} for {where}: make it return a "
                "mapping, or a list of mappings"
            )
        return [make(item, where) for item in records]

    return preprocess_and_make
