# SPDX-License-Identifier: Apache-2.0
"""Files and directories that are whole or not there, whenever the process is killed."""

import contextlib
import os
import pathlib
import platform
import shutil
from collections.abc import Iterator


def write_atomically(path: pathlib.Path, content: str | bytes) -> None:
    """Writes a file under another name and renames it; makes its directory if it is not there.

    Args:
      path: of the file.
      content: all of it; text is written in UTF-8.

    Raises:
      OSError: if it cannot be written; what was at `path` is then as it was.
    """
    with written_atomically(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


@contextlib.contextmanager
def written_atomically(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Gives the name to write a file under, which becomes `path` when the block ends without an error.

    Args:
      path: of the file; its directory is made if it is not there.

    Raises:
      OSError: if it cannot be written; what was at `path` is then as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{platform.node()}.{os.getpid()}.tmp")  # hosts may share the directory
    try:
        yield temporary
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def new_directory(directory: pathlib.Path) -> Iterator[pathlib.Path]:
    """Gives a directory to write into, which becomes `directory` when the block ends without an error.

    Args:
      directory: must not exist, or be empty.

    Raises:
      ValueError: if it holds something.
      OSError: if it cannot be written; nothing of it is then there.
    """
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise ValueError(f"{directory} exists already: name a new directory, so that nothing is overwritten")
    directory.parent.mkdir(parents=True, exist_ok=True)
    temporary = directory.with_name(f".{directory.name}.{platform.node()}.{os.getpid()}.tmp")
    temporary.mkdir()
    try:
        yield temporary
        temporary.replace(directory)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
