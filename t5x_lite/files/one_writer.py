# SPDX-License-Identifier: Apache-2.0
"""One process at a time writes an output, under whatever name: links, `./` and other spellings are the same output."""

import contextlib
import errno
import os
import pathlib
import platform
import re
import shutil
import sys
from collections.abc import Iterator

from t5x_lite.files.atomic_write import is_stream
from t5x_lite.files.lock import LOCK, locked

WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # errors of file systems that have none


@contextlib.contextmanager
def one_writer(path: str | os.PathLike[str] | None, option: str = "", *, part: str = "") -> Iterator[None]:
    """Locks a file or a new directory during the block; nothing if `path` is None.

    The lock is `.NAME.lock` beside it, removed at the end; the next writer removes that of a killed process, and what
    the process left half-written. Standard output (-), devices and pipes need no lock.

    Args:
      path: the output.
      option: the option that names it, for errors.
      part: the suffix of the part that this process writes, if several processes write one output.

    Raises:
      ValueError: if another process is writing it; names the process.
      OSError: if its directory cannot be created or written.
    """
    if path is None or path == "-" or is_stream(path):
        yield
        return
    target = pathlib.Path(os.path.realpath(path))
    # A link is locked as well as the file that it leads to, because the output will replace the link.
    names = dict.fromkeys([target, target if target.is_dir() else pathlib.Path(os.path.abspath(path))])
    with contextlib.ExitStack() as stack:
        for name in names:
            stack.enter_context(_held(name.parent / f".{name.name}{part}{LOCK}", f"{option} {path}".strip()))
            if not part:
                _remove_leftovers(name)
        yield


@contextlib.contextmanager
def one_filler(directory: str | os.PathLike[str] | None, option: str) -> Iterator[None]:
    """Locks a directory whose files are written one by one, by `.lock` in it; see `one_writer`."""
    if directory is None:
        yield
        return
    with _held(pathlib.Path(directory) / LOCK, f"{option} {directory}"):
        yield


@contextlib.contextmanager
def _held(lock: pathlib.Path, what: str) -> Iterator[None]:
    """Holds a lock file; removes it at the end, and the directories created for it that are still empty."""
    created = [folder for folder in lock.parents if not folder.exists()]
    with contextlib.ExitStack() as stack:
        stack.callback(_remove_empty, created)
        try:
            lock.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(locked(lock, what, "name another output"))
        except OSError as error:
            if error.errno not in WITHOUT_LOCKS:
                raise OSError(f"cannot write {what}: {error.strerror}; name another output") from error
            print(f"{what} cannot be locked ({error.strerror}): let no other process write it", file=sys.stderr)
        stack.callback(lock.unlink, missing_ok=True)  # while the lock is held
        yield


def _remove_empty(directories: list[pathlib.Path]) -> None:
    with contextlib.suppress(OSError):
        for directory in directories:
            directory.rmdir()


def _remove_leftovers(output: pathlib.Path) -> None:
    """Removes the temporary files and directories of killed processes; see `atomic_write.temporary_beside`."""
    # Only of this host: another's may be alive where a shared file system does not share locks.
    name = re.compile(rf"\.{re.escape(output.name)}\.{re.escape(platform.node())}\.\d+\.tmp")
    for found in output.parent.glob(".*.tmp"):
        if name.fullmatch(found.name):
            if found.is_dir():
                shutil.rmtree(found, ignore_errors=True)
            else:
                found.unlink(missing_ok=True)
