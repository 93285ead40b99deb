# SPDX-License-Identifier: Apache-2.0
"""Reads the `config.yaml` that a run directory records, of any version."""

import dataclasses
import os
import pathlib
from typing import Any

import yaml

from t5x_lite.config import RunConfig
from t5x_lite.config.run import FIRST_REVISION, LATEST_REVISION
from t5x_lite.files.yaml_text import load_yaml

RUN_CONFIG = "config.yaml"
HISTORY = "history"  # the key of the changes since the run began


def read_run_config(run_dir: str | os.PathLike[str]) -> dict[str, Any] | None:
    """Returns the recorded fields, with the revision of a run that recorded none; None if there is no run.

    Raises:
      ValueError: if the file is corrupt.
    """
    path = pathlib.Path(run_dir) / RUN_CONFIG
    if not path.is_file():
        return None
    try:
        fields = load_yaml(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError):
        fields = None
    if not isinstance(fields, dict) or not isinstance(fields.pop(HISTORY, []), list):
        raise ValueError(f"{path} is corrupt: restore it, or name another run_dir")
    return {"revision": FIRST_REVISION} | fields


def with_revision(cfg: RunConfig, run_dir: str | os.PathLike[str]) -> RunConfig:
    """Returns a config that follows the rules of the run in `run_dir`, or the latest, unless it says which."""
    if cfg.revision is not None:
        return cfg
    recorded = read_run_config(run_dir)
    return dataclasses.replace(cfg, revision=LATEST_REVISION if recorded is None else recorded["revision"])
