# SPDX-License-Identifier: Apache-2.0
"""Looks at the text of tasks before anything is written, trained or unpacked."""

import pathlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from t5x_lite.config import DOCSTRINGS, TaskConfig
from t5x_lite.data.corpus.shards import SPLITS
from t5x_lite.data.task_specs import TaskSpecs

if TYPE_CHECKING:
    from t5x_lite.data.corpus.first_records import HeldOut


def check_text(
    tasks: TaskSpecs,
    splits: tuple[str, ...] = SPLITS,
    *,
    check_held_out: "Callable[[TaskConfig, HeldOut], object]" = lambda task, held_out: None,
) -> None:
    """Raises ValueError if the sources of tasks, their templates, or the first records are invalid.

    A task with prepared text must be that of the text.

    Args:
      tasks: the tasks.
      splits: those that are needed.
      check_held_out: is called with each task whose records are read, and those held out; may raise ValueError too.
    """
    for name, single in tasks.each.items():
        try:
            _check_task(single, splits, check_held_out)
        except ValueError as error:
            from t5x_lite.data.task_bases import of_task

            raise of_task(name, error) from error


def _check_task(
    task: TaskConfig, splits: tuple[str, ...], check_held_out: "Callable[[TaskConfig, HeldOut], object]"
) -> None:
    if task.prepared is not None:
        from t5x_lite.data.corpus.same_task import check_prepared
        from t5x_lite.data.corpus.tokenize import Preparation

        directory = pathlib.Path(task.prepared)
        check_prepared(Preparation(task, directory, directory, splits))
    elif task.source == DOCSTRINGS and task.text == TaskConfig.text and task.preprocess is None:
        from t5x_lite.data.sources.docstrings import python_files

        for package in task.packages or ():  # all of them take seconds to read
            next(python_files(package), None)
    else:
        from t5x_lite.data.corpus.first_records import check_first_records

        check_held_out(task, check_first_records(task, splits))
