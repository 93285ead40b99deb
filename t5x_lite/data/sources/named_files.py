# SPDX-License-Identifier: Apache-2.0
"""Lists the files that a source reads, so that nothing is written over them."""

import os
import pathlib

from t5x_lite.config import DOCSTRINGS, TaskConfig
from t5x_lite.data.sources import Names
from t5x_lite.data.sources.base import HUGGING_FACE, TFDS
from t5x_lite.data.sources.files import find_files
from t5x_lite.data.sources.python import is_object


def source_files(names: Names, field: str = "task.source", *, any_type: bool = False) -> list[pathlib.Path]:
    """Returns the local files of a source; those that TFDS and the Hub keep, and Python objects, have none.

    The arguments are those of `find_files`, which raises ValueError if a file does not exist.
    """
    files = []
    for name in _each(names):
        if name.startswith(HUGGING_FACE):
            path = os.path.expanduser(name.removeprefix(HUGGING_FACE))
            folder = pathlib.Path(path if os.path.isdir(path) else path.rpartition("@")[0])
            files += [file for file in folder.rglob("*") if file.is_file()] if folder.name else []
        elif name != DOCSTRINGS and not name.startswith(TFDS) and not is_object(name):
            files += find_files([name], field, any_type=any_type)
    return files


def named_folders(task: TaskConfig) -> list[pathlib.Path]:
    """Returns the folders that a task's sources name, whose files are all read."""
    names = [name for names in (task.source, task.eval_source) if names for name in _each(names)]
    folders = (pathlib.Path(os.path.expanduser(name.removeprefix(HUGGING_FACE))) for name in names)
    return [folder for folder in folders if folder.is_dir()]


def task_files(task: TaskConfig) -> list[pathlib.Path]:
    """Returns the local files of a task's sources that exist."""
    files = []
    for names in (task.source, task.eval_source):
        try:
            files += source_files(names) if names is not None else []
        except ValueError:  # the text may be prepared and its source gone
            continue
    return files


def _each(names: Names) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else names
