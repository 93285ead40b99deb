# SPDX-License-Identifier: Apache-2.0
"""Atomic writes: files are either complete or absent, even if the process is killed."""

import contextlib
import os
import pathlib
import platform
from collections.abc import Iterator


def write_atomically(path: pathlib.Path, content: str | bytes) -> None:
    """Writes a file atomically, text as UTF-8; creates its directory if needed."""
    with written_atomically(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


@contextlib.contextmanager
def written_atomically(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields a temporary path to write to, renamed to `path` if the block succeeds; creates its directory if needed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_beside(path)
    try:
        yield temporary
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        from t5x_lite.files.full_disk import raise_named

        raise_named(error, path)
        raise


def temporary_beside(path: pathlib.Path) -> pathlib.Path:
    """Returns the path of a temporary file or directory beside another, of this process alone."""
    return path.with_name(f".{path.name}.{platform.node()}.{os.getpid()}.tmp")  # hosts may share the directory
