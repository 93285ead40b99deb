# SPDX-License-Identifier: Apache-2.0
"""A .npy file that grows row by row, so that its rows need not fit into memory.

Source: the description of the format in `numpy.lib.format`, whose header leaves room for the number of rows to grow.
"""

import contextlib
import pathlib
from collections.abc import Callable, Iterator
from typing import IO

import numpy as np

from t5x_lite.files.atomic_write import written_atomically

DTYPE = np.dtype("<f4")


@contextlib.contextmanager
def growing_array(path: pathlib.Path, num_columns: int) -> Iterator[Callable[[np.ndarray], None]]:
    """Yields a function that appends a row; the file, float32 [rows, num_columns], appears once the block succeeds."""
    num_rows = 0
    with written_atomically(path) as temporary, temporary.open("wb") as file:
        end = _write_header(file, (0, num_columns))

        def append(row: np.ndarray) -> None:
            nonlocal num_rows
            assert row.shape == (num_columns,)
            file.write(row.astype(DTYPE).tobytes())
            num_rows += 1

        yield append
        file.seek(0)
        new_end = _write_header(file, (num_rows, num_columns))
        assert new_end == end, "NumPy leaves room for the number of rows"


def _write_header(file: IO[bytes], shape: tuple[int, int]) -> int:
    """Writes the header and returns its length."""
    np.lib.format.write_array_header_1_0(file, {"descr": DTYPE.str, "fortran_order": False, "shape": shape})
    return file.tell()
