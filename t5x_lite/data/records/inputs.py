# SPDX-License-Identifier: Apache-2.0
"""Turns records into the inputs of a supervised task, without their targets."""

from collections.abc import Callable

from t5x_lite.config import TaskConfig
from t5x_lite.data.records.rows import maker
from t5x_lite.data.records.templates import Template
from t5x_lite.data.sources.base import Record


def input_maker(task: TaskConfig, name: str = "task.inputs") -> Callable[[Record, str], list[str]]:
    """Returns a function from a record and its location to its inputs; the record needs no targets.

    Errors call the template `name`.
    """
    return maker(task, Template(task.inputs or "", name))
