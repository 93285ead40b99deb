# SPDX-License-Identifier: Apache-2.0
"""New directories, which are either complete or absent, even if the process is killed."""

import contextlib
import pathlib
import shutil
from collections.abc import Iterator

from t5x_lite.files.atomic_write import temporary_beside
from t5x_lite.files.one_writer import one_writer


@contextlib.contextmanager
def new_directory(directory: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields a temporary directory, renamed to `directory` if the block succeeds.

    Raises:
      ValueError: if the directory is not empty, or another process is writing it.
      OSError: if it cannot be written.
    """
    with one_writer(directory):
        if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
            raise ValueError(f"{directory} exists already: name a new directory, so that nothing is overwritten")
        target = directory.resolve()  # a link to an empty directory stays one
        temporary = temporary_beside(target)
        temporary.mkdir()
        try:
            yield temporary
            temporary.replace(target)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
