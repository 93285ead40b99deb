# SPDX-License-Identifier: Apache-2.0
"""Paths of runs and of their checkpoints: RUN/checkpoints/STEP names a run and a step in one."""

import os
import pathlib

from t5x_lite.files.messages import listed
from t5x_lite.files.run_config import RUN_CONFIG

CHECKPOINTS = "checkpoints"


def run_and_step(path: str | os.PathLike[str], step: int | None = None) -> tuple[str, int | None]:
    """Returns the run directory and the step in RUN/checkpoints/STEP; any other path as it is, with `step`.

    Raises:
      ValueError: if the path names another step than `step`.
    """
    given, absolute = pathlib.Path(path), pathlib.Path(os.path.abspath(path))
    run = absolute.parent.parent
    if absolute.parent.name != CHECKPOINTS or not is_step(absolute.name) or not (run / RUN_CONFIG).is_file():
        return os.fspath(path), step
    named = int(absolute.name)
    if step not in (None, named):
        raise ValueError(f"{given} is the checkpoint of step {named}, but step {step} is asked for: leave out one")
    shorter = given.parent.parent  # wrong for a path that begins below the run
    return str(shorter if os.path.abspath(shorter) == str(run) else run), named


def is_step(name: str) -> bool:
    """Returns whether a name in `checkpoints` is that of a complete checkpoint."""
    return name.isascii() and name.isdecimal() and str(int(name)) == name


def saved_steps(run: str | os.PathLike[str]) -> list[int]:
    """Returns the steps of a run's complete checkpoints, in ascending order."""
    return steps_in(pathlib.Path(run) / CHECKPOINTS)


def steps_in(directory: pathlib.Path) -> list[int]:
    """Returns the steps of the complete checkpoints in a directory, in ascending order."""
    entries = directory.iterdir() if directory.is_dir() else ()
    return sorted(int(entry.name) for entry in entries if is_step(entry.name) and entry.is_dir())


def checked_step(run: str | os.PathLike[str], step: int | None) -> int:
    """Returns a step, or the newest if it is None; raises ValueError if the run has no checkpoint of it."""
    if step is not None and type(step) is not int:
        raise TypeError(f"step is {step!r}: pass a whole number, or None for the newest checkpoint")
    steps = saved_steps(run)
    if not steps:
        raise ValueError(f"{os.fspath(run)} has no checkpoint yet: wait until the run has saved its first one")
    if step is None:
        return steps[-1]
    if step not in steps:
        raise ValueError(f"{os.fspath(run)} has no checkpoint of step {step}: use one of {listed(steps)}")
    return step
