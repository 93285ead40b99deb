# SPDX-License-Identifier: Apache-2.0
"""`t5x-lite train`: trains a model from a config."""

from t5x_lite.config import RunConfig
from t5x_lite.parallel.interrupts import STOPPED
from t5x_lite.training.loop import train


def run(
    cfg: RunConfig,
    *,
    profile: bool = False,
    allow_changes: bool = False,
    from_step: int | str | None = None,
    check: bool = False,
) -> int:
    """Trains until `train.num_steps`, resuming from the newest checkpoint in `run_dir`; returns the exit status.

    With `check`, prints what such a run would be instead, after looking for mistakes.
    """
    if check:
        from t5x_lite.training import check as checking

        print(checking.check(cfg, allow_changes=allow_changes, from_step=from_step))
        return 0
    results = train(cfg, profile=profile, allow_changes=allow_changes, from_step=from_step)
    return 0 if results.is_complete else STOPPED
