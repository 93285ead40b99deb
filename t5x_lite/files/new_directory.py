# SPDX-License-Identifier: Apache-2.0
"""New directories, which are either complete or absent, even if the process is killed."""

import contextlib
import pathlib
import shutil
from collections.abc import Iterator

from t5x_lite.files.atomic_write import temporary_beside


@contextlib.contextmanager
def new_directory(directory: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields a temporary directory, renamed to `directory` if the block succeeds; ValueError if that is not empty."""
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise ValueError(f"{directory} exists already: name a new directory, so that nothing is overwritten")
    directory.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_beside(directory)
    shutil.rmtree(temporary, ignore_errors=True)  # left by a killed process with the same id
    temporary.mkdir()
    try:
        yield temporary
        temporary.replace(directory)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
