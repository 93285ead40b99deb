# SPDX-License-Identifier: Apache-2.0
"""Atomic writes: files and directories are either complete or absent, even if the process is killed."""

import contextlib
import os
import pathlib
import platform
import shutil
from collections.abc import Iterator


def write_atomically(path: pathlib.Path, content: str | bytes) -> None:
    """Writes a file atomically, text as UTF-8; creates its directory if needed."""
    with written_atomically(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


@contextlib.contextmanager
def written_atomically(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields a temporary path to write to, renamed to `path` if the block succeeds; creates its directory if needed."""
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
    """Yields a temporary directory, renamed to `directory` if the block succeeds; ValueError if that is not empty."""
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise ValueError(f"{directory} exists already: name a new directory, so that nothing is overwritten")
    directory.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(directory)
    shutil.rmtree(temporary, ignore_errors=True)  # left by a killed process with the same id
    temporary.mkdir()
    try:
        yield temporary
        temporary.replace(directory)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _temporary(path: pathlib.Path) -> pathlib.Path:
    return path.with_name(f".{path.name}.{platform.node()}.{os.getpid()}.tmp")  # hosts may share the directory
