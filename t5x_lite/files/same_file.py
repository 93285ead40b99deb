# SPDX-License-Identifier: Apache-2.0
"""Refuses to write over files that are read, under whatever name: links, other spellings, other capitals."""

import os
import pathlib
import stat
from collections.abc import Iterable

Path = str | os.PathLike[str]
File = Path | int  # an int is the descriptor of an open file


def refuse_overwriting(written: Iterable[File], read: Iterable[File], option: str) -> None:
    """Raises ValueError if a file to be written, which the option names, is one that is read.

    Devices, pipes and files that do not exist yet have nothing to lose.
    """
    existing: dict[object, File] = {identity: path for path in written if (identity := _identity(path)) is not None}
    for path in read if existing else ():
        if (target := existing.get(_identity(path))) is not None:
            output = "standard output" if isinstance(target, int) else f"{option} {target}"
            source = "standard input" if isinstance(path, int) else path
            raise ValueError(f"{output} is {source}, which is read: name another file")


def refuse_nesting(directory: Path, read: Iterable[Path], option: str) -> None:
    """Raises ValueError if the directory to be written is, holds or is inside what is read."""
    target = pathlib.Path(directory).resolve()
    for path in read:
        source = pathlib.Path(path).resolve()
        if target == source or source in target.parents or (target in source.parents and source.exists()):
            relation = "is" if target == source else "is inside" if source in target.parents else "holds"
            raise ValueError(f"{option} {directory} {relation} {path}, which is read: name a directory elsewhere")


def _identity(path: File) -> tuple[int, int] | None:
    """Returns what identifies a file; None if it does not exist or is not a regular file."""
    try:
        state = os.stat(path)
    except (OSError, ValueError):
        return None
    return (state.st_dev, state.st_ino) if stat.S_ISREG(state.st_mode) else None
