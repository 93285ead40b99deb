# SPDX-License-Identifier: Apache-2.0
"""Tasks that are defined in Python, put together with what a config says of them; the tasks of a mixture."""

import dataclasses

from t5x_lite.config import MixtureConfig, TaskConfig
from t5x_lite.data.sources.python import import_object


def resolved(task: TaskConfig) -> TaskConfig:
    """Returns a task with every `base` in it replaced by what it names.

    Args:
      task: its fields that are not at their defaults replace those of its base.

    Raises:
      ValueError: if a base is no Task or Mixture, or does not go together with the fields given.
    """
    if task.mixture is not None:
        tasks = {name: resolved(member) for name, member in task.mixture.tasks.items()}
        task = dataclasses.replace(task, mixture=dataclasses.replace(task.mixture, tasks=tasks))
    if task.base is None:
        return task
    found = import_object(task.base, "task.base")
    if isinstance(found, MixtureConfig):
        found = TaskConfig(mixture=found)
    if not isinstance(found, TaskConfig):
        raise ValueError(f"task.base {task.base} is a {type(found).__name__}: name a t5x_lite.Task or t5x_lite.Mixture")
    given = {name: value for name, value in task.given().items() if name != "base"}
    return resolved(dataclasses.replace(found, **given))


def tasks_of(task: TaskConfig) -> dict[str, TaskConfig]:
    """Returns the tasks of a mixture by name, those of mixtures in it as OUTER/INNER; a task that is none under ''.

    Args:
      task: resolved; its tokenizer, and its preparation if it has one, are those of all its tasks.
    """
    if task.mixture is None:
        return {"": task}
    found = {}
    for name, member in task.mixture.tasks.items():
        shared: dict[str, object] = {"tokenizer": task.tokenizer}
        if task.prepared is not None:
            shared["prepared"] = f"{task.prepared}/{name}"
        for inner, single in tasks_of(dataclasses.replace(member, **shared)).items():
            found[f"{name}/{inner}" if inner else name] = single
    return found
