# SPDX-License-Identifier: Apache-2.0
"""Resolves a run's task into the single tasks it consists of."""

import dataclasses
import functools
from typing import Self

from t5x_lite.config import TaskConfig, TokenizerConfig


@dataclasses.dataclass(frozen=True)
class TaskSpecs:
    """The tasks of a run, made once by `resolve_tasks`."""

    whole: TaskConfig  # a single task or a mixture, without any `base`; recorded in manifests and config.yaml

    @functools.cached_property
    def each(self) -> dict[str, TaskConfig]:
        """The tasks of a mixture by name (OUTER/INNER if nested), or a single task under the name ""."""
        if self.whole.mixture is None:
            return {"": self.whole}
        from t5x_lite.data.task_bases import tasks_of_mixture

        return tasks_of_mixture(self.whole, self.whole.mixture)

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
    if task.base is None and task.mixture is None:
        return TaskSpecs(task)
    from t5x_lite.data.task_bases import without_bases

    return TaskSpecs(without_bases(task))
