# SPDX-License-Identifier: Apache-2.0
"""Parquet files, read from an uncompressed, memory-mapped copy, because Parquet has no random access to rows."""

import pathlib

import pyarrow
import pyarrow.parquet

from t5x_lite.data.sources.base import BadRecord, IndexedSource, Record
from t5x_lite.files.atomic_write import written_atomically
from t5x_lite.files.messages import listed

ROWS_AT_ONCE = 1_024


class ParquetRows(IndexedSource):
    """The rows of a Parquet file.

    Args:
      path: the Parquet file.
      copy: the path of the uncompressed copy in Arrow's file format, written if it does not exist.

    Raises:
      ValueError: if the file is not a complete Parquet file, or has duplicate column names.
    """

    def __init__(self, path: pathlib.Path, copy: pathlib.Path):
        self.copy = copy
        if not copy.is_file():
            _uncompress(path, copy)
        with pyarrow.memory_map(str(copy)) as file:
            super().__init__(pyarrow.ipc.open_file(file).read_all(), str(path))
        names = self._items.column_names
        if len(set(names)) < len(names):
            raise ValueError(f"{path} has duplicate column names ({listed(names)}): give each a different name")

    def __getitem__(self, number: int) -> Record:
        try:
            return self._items.slice(number, 1).to_pylist()[0]
        except (ValueError, OverflowError, pyarrow.ArrowException) as error:  # such as invalid UTF-8 or the year 20,000
            raise BadRecord(f"{self.where(number)} has a value that cannot be read ({error}): fix the file") from error

    def where(self, number: int) -> str:
        return f"{self._name} row {number + 1}"


def _uncompress(path: pathlib.Path, copy: pathlib.Path) -> None:
    try:
        with (
            pyarrow.parquet.ParquetFile(path) as parquet,
            written_atomically(copy) as temporary,
            pyarrow.ipc.new_file(str(temporary), parquet.schema_arrow) as out,
        ):
            for rows in parquet.iter_batches(ROWS_AT_ONCE):
                out.write_batch(rows)
    except (pyarrow.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno:  # an I/O or permission error
            raise
        raise ValueError(f"{path} is not a complete Parquet file ({error}): fetch or write it again") from error
