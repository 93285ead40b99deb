# SPDX-License-Identifier: Apache-2.0
"""Why a run directory cannot be used: its place, or the space on its disk."""

import os
import pathlib


def place_error(path: pathlib.Path, nearest: pathlib.Path) -> ValueError:
    """Returns the error for a run directory that cannot be made or is not a run's; `nearest` exists, at or above it."""
    if not nearest.is_dir():
        what = "is" if nearest == path else f"is below {nearest},"
        return ValueError(f"run_dir {path} {what} a file: name a directory")
    if not os.access(nearest, os.W_OK | os.X_OK):
        return ValueError(f"cannot write to run_dir {path}: {nearest} is not writable; name another directory")
    first = min(entry.name for entry in path.iterdir())
    return ValueError(f"run_dir {path} contains {first!r} and was not made by t5x-lite: name a new or empty directory")


def check_held(path: pathlib.Path, checkpoints: pathlib.Path, count: int, size: int, free: int) -> None:
    """Raises ValueError unless `count` checkpoints of `size` bytes fit, with those that are there already."""
    held = sum(file.stat().st_size for file in checkpoints.rglob("*") if file.is_file())
    if size * count > free + held:
        raise ValueError(
            f"run_dir {path} is on a disk with {free / 1e9:,.1f} GB left, but there will be up to {count} checkpoints "
            f"of {size / 1e9:,.1f} GB, checkpoint.keep and one more: free some space, lower checkpoint.keep, or name "
            "another run_dir"
        )
