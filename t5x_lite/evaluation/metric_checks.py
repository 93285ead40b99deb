# SPDX-License-Identifier: Apache-2.0
"""Checks of the metrics of tasks, before anything is predicted."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from t5x_lite.config import RunConfig, TaskConfig
from t5x_lite.data.examples import spread
from t5x_lite.data.task_specs import TaskSpecs
from t5x_lite.evaluation.metrics import check_names, check_references
from t5x_lite.evaluation.metrics.reference import references_of

if TYPE_CHECKING:
    from t5x_lite.data.corpus.first_records import HeldOut
    from t5x_lite.evaluation.evaluator import Evaluation


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


def check_held_out(task: TaskConfig, held_out: "HeldOut", cfg: RunConfig) -> None:
    """Raises ValueError if a metric of a task cannot use its held-out pairs, or those of them that training evaluates.

    If there may be others, only what each pair has to have is checked.
    """
    metrics, references = task.metrics, references_of(held_out.references)
    if held_out.is_whole:
        length = len(references)
        number = min(length, cfg.train.batch_size * cfg.eval.num_batches)
        references = [references[i] for i in spread(np.arange(number), length)] if length else []
    else:  # a question may have choices that are not read
        references = [reference._replace(group_size=0) for reference in references]
        metrics = [name.partition(":")[0] if name.startswith("rank_classification") else name for name in metrics]
    check_references(metrics, references)


def check_evaluated(evaluation: "Evaluation", name: str) -> None:
    """Raises ValueError if a metric of a task cannot use the pairs that are evaluated; for text that is prepared."""
    task = evaluation.corpora[name].task
    if not evaluation.corpora[name].has_pairs:
        raise needs_pairs(name, task.metrics)
    from t5x_lite.evaluation.answers import references

    try:
        check_references(task.metrics, references(evaluation, name))
    except ValueError as error:
        from t5x_lite.data.task_bases import of_task

        raise of_task(name, error) from error
