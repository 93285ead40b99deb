# SPDX-License-Identifier: Apache-2.0
"""Resolves a run's task into the single tasks it consists of."""

import dataclasses
import functools
from typing import Self

from t5x_lite.config import MixtureConfig, TaskConfig, TokenizerConfig


@dataclasses.dataclass(frozen=True)
class TaskSpecs:
    """The tasks of a run, made once by `resolve_tasks`."""

    whole: TaskConfig  # a single task or a mixture, without any `base`; recorded in manifests and config.yaml

    @functools.cached_property
    def each(self) -> dict[str, TaskConfig]:
        """The tasks of a mixture by name (OUTER/INNER if nested), or a single task under the name ""."""
        return _tasks_of(self.whole)

    @property
    def tokenizer(self) -> TokenizerConfig:
        """The tokenizer that all tasks share."""
        return self.whole.tokenizer

    def with_tokenizer(self, tokenizer: TokenizerConfig) -> Self:
        """Returns the same tasks with another tokenizer."""
        return dataclasses.replace(self, whole=dataclasses.replace(self.whole, tokenizer=tokenizer))


def resolve_tasks(task: TaskConfig) -> TaskSpecs:
    """Replaces each `base` with the Task or Mixture it names; fields that are set override it.

    Raises:
      ValueError: if a base is neither a Task nor a Mixture, or conflicts with the fields that are set.
    """
    return TaskSpecs(_resolved(task))


def _resolved(task: TaskConfig) -> TaskConfig:
    if task.mixture is not None:
        tasks = {name: _resolved(member) for name, member in task.mixture.tasks.items()}
        task = dataclasses.replace(task, mixture=dataclasses.replace(task.mixture, tasks=tasks))
    if task.base is None:
        return task
    from t5x_lite.data.sources.python import import_object

    base = import_object(task.base, "task.base")
    if isinstance(base, MixtureConfig):
        base = TaskConfig(mixture=base)
    if not isinstance(base, TaskConfig):
        raise ValueError(f"task.base {task.base} is a {type(base).__name__}: name a t5x_lite.Task or t5x_lite.Mixture")
    given = {name: value for name, value in task.given().items() if name != "base"}
    return _resolved(dataclasses.replace(base, **given))


def _tasks_of(task: TaskConfig) -> dict[str, TaskConfig]:
    if task.mixture is None:
        return {"": task}
    tasks = {}
    for name, member in task.mixture.tasks.items():
        shared: dict[str, object] = {"tokenizer": task.tokenizer}
        if task.prepared is not None:
            shared["prepared"] = f"{task.prepared}/{name}"
        for inner, single in _tasks_of(dataclasses.replace(member, **shared)).items():
            tasks[f"{name}/{inner}" if inner else name] = single
    return tasks
