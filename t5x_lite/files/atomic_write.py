# SPDX-License-Identifier: Apache-2.0
"""Atomic writes: files and directories that are either complete or absent, whenever the process is killed."""

import contextlib
import os
import pathlib
import platform
import shutil
from collections.abc import Iterator


def write_atomically(path: pathlib.Path, content: str | bytes) -> None:
    """Writes a file; makes its directory if needed.

    Args:
      path: the file.
      content: its content; text is encoded as UTF-8.

    Raises:
      OSError: if it cannot be written; an existing file is then unchanged.
    """
    with written_atomically(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


@contextlib.contextmanager
def written_atomically(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields a temporary path to write to, renamed to `path` if the block ends without an error.

    Args:
      path: the file; its directory is made if needed.

    Raises:
      OSError: if it cannot be written; an existing file is then unchanged.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(path)
    try:
        yield temporary
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def new_directory(directory: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields a temporary directory to write into, renamed to `directory` if the block ends without an error.

    Args:
      directory: must be missing or empty.

    Raises:
      ValueError: if it is not empty.
      OSError: if it cannot be written; it is then missing or empty as before.
    """
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise ValueError(f"{directory} exists already: name a new directory, so that nothing is overwritten")
    directory.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(directory)
    temporary.mkdir()
    try:
        yield temporary
        temporary.replace(directory)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _temporary(path: pathlib.Path) -> pathlib.Path:
    return path.with_name(f".{path.name}.{platform.node()}.{os.getpid()}.tmp")  # hosts may share the directory
