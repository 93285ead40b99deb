# SPDX-License-Identifier: Apache-2.0
"""The task of a run itself, which is evaluated if no other is asked for."""

import os
from typing import Any

from t5x_lite.checkpoints.load import run_path
from t5x_lite.config import RunConfig
from t5x_lite.config.from_plain import from_plain
from t5x_lite.config.plain import as_plain
from t5x_lite.data.trust import check_trusted
from t5x_lite.files.run_config import read_run_config


def own_config(model: Any, config: RunConfig | None, trust: str | os.PathLike[str] | None = None) -> RunConfig:
    """Returns the config of a run directory, or a config without a task of its own if that is what the run has.

    Args:
      model: a run directory, or a model, which is of the run in `config.run_dir`.
      config: a config with the default task, or None.
      trust: the run directory whose config may name code to import.

    Raises:
      ValueError: if there is no run that says which task to evaluate, or its task names code that is not trusted.
    """
    is_directory = isinstance(model, (str, os.PathLike))
    if config is None:
        recorded = read_run_config(run_path(model)) if is_directory else None
        if recorded is None:
            what = f"{model} is not a run directory" if is_directory else "the model is not given as a run directory"
            raise ValueError(f"{what}, so it has no task of its own: pass config, a t5x_lite.RunConfig with a task")
        own = from_plain(RunConfig, recorded)
        instead = "pass config, a t5x_lite.RunConfig with the task"
        trust = None if trust is None else run_path(trust)
        check_trusted(
            as_plain(own.task), run_path(model), trust, instead=instead, option="pass trust, the run directory"
        )
        return own
    directory = run_path(model if is_directory else config.run_dir)
    recorded = read_run_config(directory)
    if recorded is None:
        raise ValueError(f"config has no task, and neither has {directory}, which is no run directory: set config.task")
    default, own = as_plain(config.task) | {"tokenizer": None}, recorded.get("task", {}) | {"tokenizer": None}
    if default != default | own:
        raise ValueError(
            f"config has no task: leave config out to evaluate the run in {directory} on its own task, or set "
            "config.task"
        )
    return config
