# SPDX-License-Identifier: Apache-2.0
"""Counts the steps of `train.num_epochs`."""

import dataclasses
import math

from t5x_lite.config import RunConfig
from t5x_lite.data.dataset import RunExamples
from t5x_lite.data.task_specs import TaskSpecs
from t5x_lite.training.resolve import Run


def check_counts(cfg: RunConfig, tasks: TaskSpecs) -> None:
    """Raises ValueError for a mixture, whose parts are read at different rates, so that nothing is one pass over it."""
    mixture = "task.mixture is given" if tasks.whole.mixture is not None else "task.objective is ul2, a mixture"
    if tasks.whole.mixture is not None or tasks.whole.objective == "ul2":
        raise ValueError(
            f"train.num_epochs is {cfg.train.num_epochs:g}, but {mixture}, whose parts are not passed over in the same "
            "number of steps: give train.num_steps; t5x-lite data stats tells how often it reads each of them"
        )


def with_num_steps(run: Run, examples: RunExamples) -> Run:
    """Returns a run with the steps of its `train.num_epochs`, rounded up; packed examples count by their rows."""
    train, num_rows = run.config.train, len(examples.train)
    assert train.num_epochs is not None
    num_steps = math.ceil(train.num_epochs * num_rows / train.batch_size)
    rows = "rows of packed examples" if run.config.data.packing != "none" else "examples"
    note = (
        f"train.num_epochs {train.num_epochs:g} of {num_rows:,} {rows} in batches of {train.batch_size} is "
        f"train.num_steps {num_steps}"
    )
    steps = dataclasses.replace(train, num_steps=num_steps, num_epochs=None)
    return run._replace(config=dataclasses.replace(run.config, train=steps), notes=(*run.notes, note))
