# SPDX-License-Identifier: Apache-2.0
"""`t5x-lite train`: trains a model from a config."""

from t5x_lite.config import RunConfig
from t5x_lite.training.loop import train

STOPPED = 75  # EX_TEMPFAIL of sysexits.h: run the same command again


def run(
    cfg: RunConfig, *, profile: bool = False, allow_changes: bool = False, from_step: int | str | None = None
) -> int:
    """Trains until `train.num_steps`, resuming from the newest checkpoint in `run_dir`; returns the exit status."""
    results = train(cfg, profile=profile, allow_changes=allow_changes, from_step=from_step)
    return 0 if results.is_complete else STOPPED
