# SPDX-License-Identifier: Apache-2.0
"""The run directory: its files, its lock, and the config it was started with."""

import datetime
import importlib.metadata
import json
import os
import pathlib
import platform
import subprocess
import sys
from typing import Any, Self

import jax
import yaml

from t5x_lite.config import RunConfig
from t5x_lite.config.plain import as_plain
from t5x_lite.files.atomic_write import write_atomically
from t5x_lite.files.checksum import with_first_line, with_key
from t5x_lite.files.lock import LOCK, locked
from t5x_lite.files.run_config import RUN_CONFIG
from t5x_lite.files.yaml_text import Dumper

PACKAGES = ("t5x-lite", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy", "sentencepiece")


class RunDirectory:
    """The files of a run; entering creates the directory and locks it against other processes."""

    def __init__(self, path: str | os.PathLike[str]):
        self.path = pathlib.Path(path)
        self.config = self.path / RUN_CONFIG
        self.environment = self.path / "environment.json"
        self.metrics = self.path / "metrics.jsonl"
        self.plot = self.path / "loss.svg"
        self.tensorboard = self.path / "tensorboard"
        self.checkpoints = self.path / "checkpoints"
        self.profile = self.path / "profile"
        self._lock = None
        self._is_new, self._made = False, []

    def __enter__(self) -> Self:
        self.check_place()
        try:
            self._is_new = not (self.path / LOCK).exists()
            self._made = [directory for directory in (self.path, *self.path.parents) if not directory.exists()]
            self.path.mkdir(parents=True, exist_ok=True)
            # Only process 0 writes to the directory, so only it takes the lock.
            if jax.process_index() == 0:
                self._lock = locked(self.path / LOCK, f"run_dir {self.path}", "name another run_dir")
        except OSError as error:
            raise OSError(f"cannot write to run_dir {self.path}: {error.strerror}; name another directory") from error
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self._lock is not None:
            if error is not None and self._is_new and not self.config.is_file():
                from t5x_lite.files.half_made import remove_half_made

                remove_half_made(self.path, self._made, error)
            self._lock.close()  # releases the lock, as does the end of the process
            self._lock = None

    def check_place(self) -> None:
        """Raises ValueError if the directory is not a run's, or cannot be made or written to."""
        nearest = self.nearest()
        is_usable = nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)
        if not is_usable or (nearest == self.path and not (self.path / LOCK).exists() and any(self.path.iterdir())):
            from t5x_lite.training.place import place_error

            raise place_error(self.path, nearest)

    def nearest(self) -> pathlib.Path:
        """Returns the directory or, if it is not there yet, the nearest one above it that is."""
        return next(place for place in (self.path, *self.path.absolute().parents) if os.path.lexists(place))

    def check(self, cfg: RunConfig, *, allow_changes: bool = False) -> None:
        """Raises ValueError if a field that decides the numbers differs from the recorded config."""
        if self.config.is_file() or self.checkpoints.is_dir():
            from t5x_lite.training.changed_fields import check_changes

            check_changes(self.path, as_plain(cfg), allow_changes=allow_changes)

    def record(self, cfg: RunConfig, step: int, num_epochs: float | None = None) -> None:
        """Records a start from `step`: the config, with its changes, and the environment; only process 0 writes.

        Errors name `num_epochs`, if the number of steps has been counted from it.
        """
        fields = as_plain(cfg)
        if self.config.is_file():
            from t5x_lite.training.changed_fields import with_history

            fields = with_history(self.path, fields, step, num_epochs)
        if jax.process_index() == 0:
            start, earlier = environment() | {"step": step}, []
            if self.config.is_file() or self.environment.is_file():
                from t5x_lite.training.starts import read_starts

                earlier = read_starts(self.environment)
            # The environment first: a config without one has lost it.
            environs = with_key(start | {"starts": [*earlier, start]})
            write_atomically(self.environment, json.dumps(environs, indent=2) + "\n")
            write_atomically(self.config, with_first_line(yaml.dump(fields, Dumper=Dumper, sort_keys=False)))


def environment() -> dict[str, Any]:
    """Returns what else affects a run's results: versions, devices, commit, machine."""
    devices = jax.devices()
    return {
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": sys.argv,
        "commit": _commit(),
        "python": platform.python_version(),
        "host": platform.node(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "packages": {name: _version(name) for name in PACKAGES},
        "devices": {"count": len(devices), "kind": devices[0].device_kind, "processes": jax.process_count()},
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    """Returns the commit of the checkout this package runs from; None if it is installed."""
    here = pathlib.Path(__file__).resolve().parents[2]
    if not (here / ".git").exists():
        return None
    try:
        answer = subprocess.run(
            ["git", "-C", str(here), "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()
