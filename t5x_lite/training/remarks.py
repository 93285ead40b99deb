# SPDX-License-Identifier: Apache-2.0
"""Parts of the summary at the start of a run that not every run has."""

from typing import TYPE_CHECKING, cast

from t5x_lite.config import RunConfig
from t5x_lite.data.examples import Examples, unpacked

if TYPE_CHECKING:
    from t5x_lite.data.pairs import Pairs


def on_long_warmup(cfg: RunConfig) -> str:
    """Returns a line on a warmup that is longer than the run."""
    return (
        f"\noptimizer.warmup_steps is {cfg.optimizer.warmup_steps} and train.num_steps is {cfg.train.num_steps}: the "
        "learning rate does not reach optimizer.learning_rate, unless there are fewer warmup steps"
    )


def describe_pairs(examples: Examples) -> str:
    """Returns the number of pairs, of rows if they are packed, and of those that are truncated."""
    pairs = cast("Pairs", unpacked(examples))
    rows = "" if pairs is examples else f" in {len(examples):,} rows"
    inputs, targets = pairs.too_long().sum(axis=0)
    truncated = f" (truncated: {inputs:,} inputs, {targets:,} targets)" if inputs or targets else ""
    return f"{len(pairs):,} pairs{rows}{truncated}"
