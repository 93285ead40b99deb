# SPDX-License-Identifier: Apache-2.0
"""Full disks: errors that name the file and the remedy, and checks before work that cannot fit."""

import contextlib
import errno
import os
import pathlib
import shutil
from collections.abc import Iterator

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # no space, no quota, a file larger than allowed
UNITS = ("bytes", "KB", "MB", "GB", "TB", "PB")


class FullDisk(OSError):
    """A file that cannot be written for want of space; its message names the file."""


@contextlib.contextmanager
def full_disk_named(path: str | os.PathLike[str]) -> Iterator[None]:
    """Names the file in the errors of a full disk; other errors pass."""
    try:
        yield
    except OSError as error:
        raise_named(error, path)
        raise


def raise_named(error: BaseException, path: str | os.PathLike[str]) -> None:
    """Raises FullDisk with the file's name if the error is that of a full disk and does not have it yet."""
    if isinstance(error, OSError) and error.errno in FULL and not isinstance(error, FullDisk):
        raise _full(f"cannot write {path}: {os.strerror(error.errno)}", error.errno) from error


def raise_named_in(error: Exception, path: str | os.PathLike[str]) -> None:
    """Raises FullDisk with the file's name if a library's message says that the disk is full."""
    for code in FULL:
        if os.strerror(code) in str(error):
            raise _full(f"cannot write {path}: {os.strerror(code)}", code) from error


def check_space(directory: pathlib.Path, num_bytes: float, what: str) -> None:
    """Raises FullDisk if the file system of a directory, which may not exist yet, has less space than `what` needs."""
    existing = next(folder for folder in (directory, *directory.absolute().parents) if folder.is_dir())
    free = shutil.disk_usage(existing).free
    if num_bytes > free:
        raise _full(f"{what} needs {in_units(num_bytes)}, but {directory} has {in_units(free)} free", errno.ENOSPC)


def in_units(num_bytes: float) -> str:
    """Returns a number of bytes in the largest unit of which there is at least one, such as "1.5 GB"."""
    exponent = next(i for i in reversed(range(len(UNITS))) if num_bytes >= 1000**i or i == 0)
    return f"{num_bytes / 1000**exponent:.{1 if exponent else 0}f} {UNITS[exponent]}"


def _full(message: str, code: int) -> FullDisk:
    error = FullDisk(f"{message}; free some space and run the same command again")
    error.errno = code
    return error
