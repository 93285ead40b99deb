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
    """Returns the local files of a source, and the folders that it names; TFDS, the Hub and Python objects have none.

    The arguments are those of `find_files`, which raises ValueError if a file does not exist.
    """
    files: list[pathlib.Path] = []
    for name in (names,) if isinstance(names, str) else names:
        path = os.path.expanduser(name.removeprefix(HUGGING_FACE))
        if name.startswith(HUGGING_FACE):
            for folder in [folder for folder in (path, path.rpartition("@")[0]) if os.path.isdir(folder)][:1]:
                files += [pathlib.Path(folder), *pathlib.Path(folder).rglob("*")]
        elif name != DOCSTRINGS and not name.startswith(TFDS) and not is_object(name):
            files += [pathlib.Path(path)] if os.path.isdir(path) else []
            files += find_files([name], field, any_type=any_type)
    return files


def task_files(task: TaskConfig) -> list[pathlib.Path]:
    """Returns the local files and folders of a task's sources that exist."""
    files = []
    for names in (task.source, task.eval_source):
        try:
            files += source_files(names) if names is not None else []
        except ValueError:  # the text may be prepared and its source gone
            continue
    return files
