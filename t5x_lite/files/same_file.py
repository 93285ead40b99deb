# SPDX-License-Identifier: Apache-2.0
"""Refuses to write over files that are read, whatever they are called: links, other spellings, other capitals."""

import os
import pathlib
import stat
from collections.abc import Iterable

Path = str | os.PathLike[str]
File = Path | int  # an int is the descriptor of an open file


def refuse_overwriting(written: Iterable[File], read: Iterable[File], option: str) -> None:
    """Raises ValueError if one of the files to be written, which the option names, is one that is read.

    Devices and pipes are no files to lose, and files that do not exist yet cannot be read.
    """
    existing: dict[object, File] = {identity: path for path in written if (identity := _identity(path)) is not None}
    for path in read if existing else ():
        if (target := existing.get(_identity(path))) is not None:
            output = "standard output" if isinstance(target, int) else f"{option} {target}"
            source = "standard input" if isinstance(path, int) else path
            raise ValueError(f"{output} is {source}, which is read: name another file")


def refuse_nesting(directory: Path, read: Iterable[Path], option: str) -> None:
    """Raises ValueError if the directory to be written is or holds what is read, or is inside it."""
    target = pathlib.Path(directory).resolve()
    for path in map(pathlib.Path, read):
        source = path.resolve()
        if target == source or source in target.parents:
            relation = "is inside" if target != source else "is"
            raise ValueError(f"{option} {directory} {relation} {path}, which is read: name a directory elsewhere")
        if target in source.parents and target.exists():
            raise ValueError(f"{option} {directory} holds {path}, which is read: name a directory elsewhere")


def _identity(path: File) -> tuple[int, int] | None:
    """Returns what tells a file from all others; None for what does not exist or is not a regular file."""
    try:
        state = os.stat(path)
    except (OSError, ValueError):
        return None
    return (state.st_dev, state.st_ino) if stat.S_ISREG(state.st_mode) else None
