# SPDX-License-Identifier: Apache-2.0
"""Files that are whole or not there, whenever the process is killed."""

import os
import pathlib
import platform


def write_atomically(path: pathlib.Path, content: str | bytes) -> None:
    """Writes a file under another name and renames it; makes its directory if it is not there.

    Args:
      path: of the file.
      content: all of it; text is written in UTF-8.

    Raises:
      OSError: if it cannot be written; what was at `path` is then as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{platform.node()}.{os.getpid()}.tmp")  # hosts may share the directory
    try:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
