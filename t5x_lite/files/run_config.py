# SPDX-License-Identifier: Apache-2.0
"""Reads the `config.yaml` that a run directory records, of any version."""

import dataclasses
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import yaml

from t5x_lite.config import RunConfig
from t5x_lite.config.defaults import FINE_TUNING, defaults_of, filled
from t5x_lite.config.run import FIRST_REVISION, LATEST_REVISION
from t5x_lite.files.checksum import is_changed, tell_changed
from t5x_lite.files.reading import read_bytes
from t5x_lite.files.yaml_text import MAX_CHARACTERS, load_yaml

RUN_CONFIG = "config.yaml"
MISSING = object()
HISTORY = "history"  # the key of the changes since the run began


def read_run_config(run_dir: str | os.PathLike[str]) -> dict[str, Any] | None:
    """Returns the recorded fields, with the revision of a run that recorded none; None if there is no run.

    Prints a line if the file was changed by anything but a start of the run.

    Raises:
      ValueError: if the file is corrupt.
    """
    path = pathlib.Path(run_dir) / RUN_CONFIG
    if not path.is_file():
        return None
    try:
        content = read_bytes(path, 4 * MAX_CHARACTERS)
        fields = load_yaml(content.decode())
    except (yaml.YAMLError, UnicodeDecodeError):
        fields = None
    if not isinstance(fields, dict) or not isinstance(fields.pop(HISTORY, []), list):
        raise ValueError(f"{path} is corrupt: restore it, or name another run_dir")
    if is_changed(content):
        tell_changed(path)
    return {"revision": FIRST_REVISION} | fields


def resolved(cfg: RunConfig, run_dir: str | os.PathLike[str]) -> RunConfig:
    """Returns a config whose null fields have the values of the run in `run_dir` or, for a new run, their defaults."""
    recorded, values = read_run_config(run_dir), defaults_of(cfg)
    if recorded is None:
        revision = LATEST_REVISION
    else:
        revision = recorded["revision"]
        values |= {name: value for name in FINE_TUNING if (value := _recorded(recorded, name)) is not MISSING}
    return dataclasses.replace(filled(cfg, values), revision=cfg.revision or revision)


def _recorded(recorded: Mapping[str, Any], name: str) -> Any:
    section, _, field = name.partition(".")
    fields = recorded.get(section)
    return fields.get(field, MISSING) if isinstance(fields, dict) else MISSING  # of a damaged config, which is told
