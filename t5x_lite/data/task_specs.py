# SPDX-License-Identifier: Apache-2.0
"""Resolves the `base` of tasks and lists the tasks of mixtures."""

import dataclasses

from t5x_lite.config import MixtureConfig, TaskConfig
from t5x_lite.data.sources.python import import_object


def resolved(task: TaskConfig) -> TaskConfig:
    """Returns a task with each `base` replaced by the Task or Mixture it names; fields that are set override it.

    Raises:
      ValueError: if a base is neither a Task nor a Mixture, or conflicts with the fields that are set.
    """
    if task.mixture is not None:
        tasks = {name: resolved(member) for name, member in task.mixture.tasks.items()}
        task = dataclasses.replace(task, mixture=dataclasses.replace(task.mixture, tasks=tasks))
    if task.base is None:
        return task
    base = import_object(task.base, "task.base")
    if isinstance(base, MixtureConfig):
        base = TaskConfig(mixture=base)
    if not isinstance(base, TaskConfig):
        raise ValueError(f"task.base {task.base} is a {type(base).__name__}: name a t5x_lite.Task or t5x_lite.Mixture")
    given = {name: value for name, value in task.given().items() if name != "base"}
    return resolved(dataclasses.replace(base, **given))


def tasks_of(task: TaskConfig) -> dict[str, TaskConfig]:
    """Returns the tasks of a resolved mixture by name, or a single task under the name "".

    Tasks of nested mixtures are named OUTER/INNER. All tasks share the mixture's tokenizer and prepared text.
    """
    if task.mixture is None:
        return {"": task}
    tasks = {}
    for name, member in task.mixture.tasks.items():
        shared: dict[str, object] = {"tokenizer": task.tokenizer}
        if task.prepared is not None:
            shared["prepared"] = f"{task.prepared}/{name}"
        for inner, single in tasks_of(dataclasses.replace(member, **shared)).items():
            tasks[f"{name}/{inner}" if inner else name] = single
    return tasks
