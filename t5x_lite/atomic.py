# SPDX-License-Identifier: Apache-2.0
"""Files that are whole or not there, whenever the process is killed."""

import contextlib
import os
import pathlib
import platform
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
