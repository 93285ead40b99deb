# SPDX-License-Identifier: Apache-2.0
"""`t5x-lite train`: trains a model from a config."""

from t5x_lite.config import RunConfig
from t5x_lite.training.loop import train


def run(cfg: RunConfig, *, profile: bool = False) -> None:
    """Trains until `train.num_steps`, resuming from the newest checkpoint in `run_dir` if there is one."""
    train(cfg, profile=profile)
