# SPDX-License-Identifier: Apache-2.0
"""The boundary of files that may come from anybody: whatever fails inside it becomes one line that names the file."""

import contextlib
import pathlib
from collections.abc import Iterator


@contextlib.contextmanager
def reading(path: object, remedy: str = "download it again") -> Iterator[None]:
    """Turns errors of the block, which reads files, into ValueError with its path, but for those that name a file."""
    try:
        yield
    except BaseException as error:
        from t5x_lite.files.damage import explained

        told = explained(error, str(path), remedy)
        if told is error:
            raise
        raise told from error


def read_bytes(path: pathlib.Path, max_bytes: int) -> bytes:
    """Returns the content of a file; raises ValueError if it is too large, or a pointer of Git LFS."""
    if (
        path.stat().st_size > max_bytes
        or not path.is_file()
        or (content := path.read_bytes()).startswith(b"version https://git-lfs")
    ):
        from t5x_lite.files.damage import check_content

        content = check_content(path, max_bytes)
    return content
