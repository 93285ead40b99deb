# SPDX-License-Identifier: Apache-2.0
"""Tasks that others supply, by `base`, and those that a mixture consists of."""

import dataclasses

from t5x_lite.config import MixtureConfig, TaskConfig
from t5x_lite.data.sources.python import import_object


def without_bases(task: TaskConfig) -> TaskConfig:
    """Returns a task, or a mixture, with each `base` replaced; see `task_specs.resolve_tasks`."""
    if task.mixture is not None:
        tasks = {name: without_bases(member) for name, member in task.mixture.tasks.items()}
        task = dataclasses.replace(task, mixture=dataclasses.replace(task.mixture, tasks=tasks))
    if task.base is None:
        return task
    base = import_object(task.base, "task.base")
    if isinstance(base, MixtureConfig):
        base = TaskConfig(mixture=base)
    if not isinstance(base, TaskConfig):
        raise ValueError(f"task.base {task.base} is a {type(base).__name__}: name a t5x_lite.Task or t5x_lite.Mixture")
    given = {name: value for name, value in task.given().items() if name != "base"}
    return without_bases(dataclasses.replace(base, **given))


def tasks_of_mixture(task: TaskConfig, mixture: MixtureConfig) -> dict[str, TaskConfig]:
    """Returns the single tasks of a task's mixture by name, OUTER/INNER if nested."""
    tasks = {}
    for name, member in mixture.tasks.items():
        shared: dict[str, object] = {"tokenizer": task.tokenizer}
        if task.prepared is not None:
            shared["prepared"] = f"{task.prepared}/{name}"
        single = dataclasses.replace(member, **shared)
        if member.mixture is None:
            tasks[name] = single
        else:
            tasks |= {f"{name}/{inner}": one for inner, one in tasks_of_mixture(single, member.mixture).items()}
    return tasks


def of_task(name: str, error: ValueError) -> ValueError:
    """Returns an error of a task, with the field of the task in front if it is one of a mixture."""
    return ValueError(f"task.mixture.tasks.{name.replace('/', '.mixture.tasks.')}: {error}") if name else error
