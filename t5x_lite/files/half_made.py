# SPDX-License-Identifier: Apache-2.0
"""Removes what a failed start put into a directory that was new or empty."""

import pathlib
import shutil
from collections.abc import Sequence

# Prepared text of more shards took minutes; the same command goes on with it.
MOST_SHARDS = 8


def remove_half_made(path: pathlib.Path, made: Sequence[pathlib.Path], error: BaseException) -> None:
    """Empties a directory, and removes the directories `made` for it, innermost first, that are empty then.

    Prepared text stays if it is much, or if the start was interrupted, because the same command continues with it.
    """
    num_shards = sum(1 for _ in path.rglob("*.array_record"))
    if num_shards > MOST_SHARDS or (num_shards and not isinstance(error, ValueError)):
        return
    for entry in path.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    for directory in made:
        try:
            directory.rmdir()
        except OSError:  # another process has put something there
            return
