# SPDX-License-Identifier: Apache-2.0
"""Atomic writes: files are either complete or absent, even if the process is killed."""

import contextlib
import os
import pathlib
import platform
import re
import shutil
import tempfile
from collections.abc import Iterator


def write_atomically(path: pathlib.Path, content: str | bytes) -> None:
    """Writes a file atomically, text as UTF-8; creates its directory if needed."""
    with written_atomically(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


@contextlib.contextmanager
def written_atomically(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields a temporary path to write to, renamed to `path`, or copied to a stream, if the block succeeds."""
    if is_stream(path):
        with tempfile.TemporaryDirectory() as folder:
            yield pathlib.Path(folder, path.name)
            with open(pathlib.Path(folder, path.name), "rb") as source, open(path, "ab") as stream:
                shutil.copyfileobj(source, stream)
        return
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


def is_stream(path: str | os.PathLike[str]) -> bool:
    """Returns whether a path names a device, a pipe, or an open file of a process, as /dev/stdout does."""
    name = os.path.abspath(path)
    for _ in range(40):  # as many links as Linux follows
        if re.fullmatch(r"/dev/fd|/proc/.*/fd", os.path.realpath(os.path.dirname(name))):
            return True
        if os.path.islink(name):
            name = os.path.abspath(os.path.join(os.path.dirname(name), os.readlink(name)))
    return os.path.exists(name) and not os.path.isfile(name) and not os.path.isdir(name)


def temporary_beside(path: pathlib.Path) -> pathlib.Path:
    """Returns the path of a temporary file or directory beside another, of this process alone."""
    return path.with_name(f".{path.name}.{platform.node()}.{os.getpid()}.tmp")  # hosts may share the directory
