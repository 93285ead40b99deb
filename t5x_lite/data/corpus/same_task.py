# SPDX-License-Identifier: Apache-2.0
"""Checks that text that is prepared already is that of a task."""

import pathlib
from typing import Any

from t5x_lite.config.plain import as_plain
from t5x_lite.data.corpus.manifest import is_finished, read_manifest
from t5x_lite.data.corpus.tokenize import Preparation

# Fields that affect only how the text is used, which may change after it is prepared.
OBJECTIVE_FIELDS = frozenset(
    {"prepared", "objective", "noise_density", "mean_noise_span_length", "metrics", "rates", "cap", "temperature"}
    | {"max_unpack_ratio"}
)


def check_same_task(
    stored: dict[str, Any], asked: dict[str, Any], directory: pathlib.Path, section: str = "task"
) -> None:
    """Raises ValueError, naming the first field that differs, if the prepared text does not match the task.

    Args:
      stored: the task in the manifest.
      asked: the fields to compare.
      section: the config path of the task.
    """
    for field, value in asked.items():
        before = stored.get(field)
        if field in OBJECTIVE_FIELDS:
            continue
        if isinstance(value, dict) and isinstance(before, dict) and field != "choices":
            check_same_task(before, value, directory, f"{section}.{field}")
        elif value != before:
            raise ValueError(
                f"{section}.{field} is {value}, but the text in {directory} was prepared with {before}: use another "
                "directory, or the old value"
            )


def check_prepared(preparation: Preparation) -> None:
    """Raises ValueError if the text in `task.prepared` is unfinished or was prepared for another task."""
    task, directory = preparation.task, preparation.directory
    manifest = read_manifest(directory)
    if not is_finished(manifest):
        raise ValueError(
            f"task.prepared {directory} is not a finished preparation: make one with t5x-lite data prepare --output "
            f"{directory}"
        )
    fields = as_plain(task)
    check_same_task(manifest["task"], {name: fields[name] for name in task.given()}, directory)
