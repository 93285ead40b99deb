# SPDX-License-Identifier: Apache-2.0
"""Checks of the metrics of tasks, before anything is predicted."""

from collections.abc import Sequence

from t5x_lite.data.task_specs import TaskSpecs
from t5x_lite.evaluation.metrics import check_names


def check_metrics(tasks: TaskSpecs) -> None:
    """Raises ValueError unless the metrics of all tasks are known, installed and suitable."""
    for name, single in tasks.each.items():
        if single.metrics:
            check_names(single.metrics)
            if single.prepared is None and single.inputs is None:
                raise needs_pairs(name, single.metrics)


def needs_pairs(name: str, metrics: Sequence[str]) -> ValueError:
    """Returns the error for metrics of a task on plain text."""
    return ValueError(
        f"task.metrics{f' of {name}' if name else ''} is {', '.join(metrics)}, but the task is plain text and has no "
        "answers to score: give task.inputs and task.targets, or leave task.metrics out"
    )
