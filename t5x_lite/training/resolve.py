# SPDX-License-Identifier: Apache-2.0
"""Resolves a config, once, into what the parts of a run need."""

import dataclasses
from typing import TYPE_CHECKING, NamedTuple

from t5x_lite.config import RunConfig
from t5x_lite.data.dataset import ExampleSpec
from t5x_lite.data.task_specs import TaskSpecs, resolve_tasks
from t5x_lite.files.run_config import resolved

if TYPE_CHECKING:
    from t5x_lite.checkpoints.weights import LazyModel


class Run(NamedTuple):
    """A resolved config."""

    config: RunConfig  # with the resolved task, as recorded in the run directory
    examples: ExampleSpec
    pretrained: "LazyModel | None"  # the opened `model.pretrained`
    notes: tuple[str, ...] = ()  # lines on values that the user did not give, for the start

    @property
    def tasks(self) -> TaskSpecs:
        """The tasks of the examples."""
        return self.examples.tasks


def resolve_run(cfg: RunConfig) -> Run:
    """Fills in null fields, expands tasks from their bases, and opens `model.pretrained`, whose tokenizer they take."""
    asked, cfg = cfg, resolved(cfg, cfg.run_dir)
    tasks, pretrained, notes = resolve_tasks(cfg.task), None, ()
    if cfg.train.num_epochs is not None:
        from t5x_lite.training.epochs import check_counts

        check_counts(cfg, tasks)
    if cfg.model.pretrained is not None:
        from t5x_lite.training.starting_point import fine_tuning_notes, open_starting_point

        pretrained, tokenizer = open_starting_point(cfg, tasks.tokenizer)
        tasks = tasks.with_tokenizer(tokenizer)
        notes = fine_tuning_notes(asked)
    start_id = None if pretrained is None else pretrained.config.start_id
    examples = ExampleSpec.from_config(cfg, tasks, start_id=start_id)
    return Run(dataclasses.replace(cfg, task=tasks.whole), examples, pretrained, notes)
