# SPDX-License-Identifier: Apache-2.0
"""Unpacks compressed files, after a look at the space that they need; refuses those that grow out of proportion."""

import contextlib
import gzip
import pathlib
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO

import pyarrow

from t5x_lite.files.atomic_write import written_atomically
from t5x_lite.files.full_disk import check_space, in_units

CHUNK_BYTES = 2**24  # after each of them, the space that the rest needs is estimated again
HARMLESS_BYTES = 2**26  # may be unpacked from a file of any size: short texts that repeat compress well
TOOLS = {".gz": "gzip -dk", ".zst": "zstd -d"}


@contextlib.contextmanager
def decompressed(packed: BinaryIO, path: pathlib.Path) -> Iterator[Any]:
    """Yields the content of an open .gz or .zst file; raises ValueError, with its path, if it is damaged."""
    compression = path.suffix.lower()
    try:
        if compression == ".gz":
            with gzip.GzipFile(fileobj=packed) as content:
                yield content
        else:
            with pyarrow.input_stream(pyarrow.PythonFile(packed, mode="r"), compression="zstd") as content:
                yield content
    except (EOFError, zlib.error, OSError) as error:
        if isinstance(error, OSError) and error.errno:  # an I/O error; decompression errors have no errno
            raise
        raise ValueError(f"{path} is not a complete {compression} file ({error}): fetch or write it again") from error


def unpack(path: pathlib.Path, plain: pathlib.Path, *, max_ratio: float, has_option: bool = True) -> None:
    """Writes the content of a .gz or .zst file to `plain`, which appears once it is complete.

    Args:
      path: the file.
      plain: the path of its content.
      max_ratio: the size of the content relative to the file's at most, once it has HARMLESS_BYTES.
      has_option: whether the command has `task.max_unpack_ratio`, for the error.

    Raises:
      ValueError: if the file is damaged, or its content is larger than that.
      FullDisk: if there is too little space for the content, as far as its beginning tells.
    """
    size, written = path.stat().st_size, 0
    check_space(plain.parent, size, f"unpacking {path}")
    with (
        path.open("rb") as packed,
        decompressed(packed, path) as content,
        written_atomically(plain) as temporary,
        temporary.open("wb") as out,
    ):
        while chunk := content.read(CHUNK_BYTES):
            written += len(chunk)
            if written > max(HARMLESS_BYTES, max_ratio * size):
                option = "raise task.max_unpack_ratio, or " if has_option else ""
                raise ValueError(
                    f"{path} has {in_units(size)} and unpacks to over {max_ratio:g} times as much, as files made to "
                    f"fill a disk do: if it is yours, {option}unpack it with {TOOLS[path.suffix.lower()]} and name the "
                    "result"
                )
            left = written * (size / max(packed.tell(), 1) - 1)
            check_space(plain.parent, len(chunk) + left, f"unpacking {path}")
            out.write(chunk)
