# SPDX-License-Identifier: Apache-2.0
"""Where the records of large files are, kept on disk: a file is read through once, by one process."""

import contextlib
import pathlib
from collections.abc import Callable

import numpy as np

from t5x_lite.data.sources.spans import Spans
from t5x_lite.data.sources.state import file_key
from t5x_lite.files.atomic_write import written_atomically

FEWEST_BYTES = 2**24  # of a file, to be worth an index: smaller ones are read through in a tenth of a second


def indexed_spans(path: pathlib.Path, kind: str, cache: pathlib.Path, find: Callable[[], Spans]) -> Spans:
    """Returns where the records of a file are, mapped into memory if the file is large.

    Args:
      path: of the file.
      kind: what its records are; names the index.
      cache: directory for the index; where it cannot be written, there is none.
      find: reads through the file.
    """
    if path.stat().st_size < FEWEST_BYTES:
        return find()
    index = cache / f"{file_key(path)}.{kind}.npy"
    spans = _read(index)
    if spans is not None:
        return spans
    spans = find()
    with contextlib.suppress(OSError), written_atomically(index) as temporary, temporary.open("wb") as file:
        np.save(file, np.stack(spans))
    return _read(index) or spans


def _read(index: pathlib.Path) -> Spans | None:
    try:
        found = np.asarray(np.load(index, mmap_mode="r"))  # a plain array is looked up in twice as fast
    except (OSError, ValueError, EOFError):  # none there, or not a whole one
        return None
    return Spans(*found) if found.dtype == np.int64 and found.ndim == 2 and len(found) == len(Spans._fields) else None
