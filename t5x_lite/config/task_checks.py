# SPDX-License-Identifier: Apache-2.0
"""Checks of the fields that few tasks have: mixtures and labels."""

import re

from t5x_lite.config.checks import POSITIVE, check_fields, require
from t5x_lite.config.task import MixtureConfig, TaskConfig, TokenizerConfig

TASK_NAME = re.compile(r"[\w-]+")  # in a mixture: also names a directory and metrics
# The fields that a mixture may set itself; all others belong to its tasks.
READ_BY_MIXTURE = frozenset({"mixture", "tokenizer", "prepared"})


def check_tasks(mixture: MixtureConfig) -> None:
    """Raises ValueError for a mixture without tasks, and for tasks or rates that do not suit it."""
    require(bool(mixture.tasks), "task.mixture.tasks is empty: name at least one task")
    for name, task in mixture.tasks.items():
        require(
            TASK_NAME.fullmatch(name) is not None,
            f"task.mixture.tasks has the name {name!r}: use only letters, digits, _ and -",
        )
        require(
            task.tokenizer == TokenizerConfig(),
            f"task.mixture.tasks.{name} has its own tokenizer: set task.tokenizer, which all tasks share",
        )
    check_fields(mixture, "task.mixture.", {POSITIVE: "cap temperature"})
    if mixture.rates is None:
        return
    require(
        mixture.rates.keys() == mixture.tasks.keys(),
        f"task.mixture.rates is for {', '.join(mixture.rates) or 'no tasks'}, but the tasks are "
        f"{', '.join(mixture.tasks)}: give each task a rate",
    )
    for name, rate in mixture.rates.items():
        require(rate > 0, f"task.mixture.rates.{name} is {rate}: use a number above 0, or leave out the task")
    require(
        mixture.cap is None and mixture.temperature == 1.0,
        "task.mixture.rates is given together with cap or temperature, which only apply to proportional rates: "
        "leave out one of them",
    )


def check_mixture(task: TaskConfig) -> None:
    """Raises ValueError if a mixture sets fields of its tasks."""
    if task.mixture is None:
        return
    for field in task.given().keys() - READ_BY_MIXTURE:
        raise ValueError(
            f"task.{field} is {getattr(task, field)!r} and task.mixture is given: set the field of a task, "
            f"task.mixture.tasks.{next(iter(task.mixture.tasks))}.{field}"
        )


def check_labels(task: TaskConfig) -> None:
    """Raises ValueError unless labels are different, and are those of targets."""
    if task.labels is None:
        return
    require(
        task.targets is not None or task.base is not None,
        "task.labels is given without task.targets, whose classes they are: give both",
    )
    words = {label for label in task.labels if label.strip()}
    require(len(words) == len(task.labels) > 1, f"task.labels is {list(task.labels)}: use two or more different labels")
