# SPDX-License-Identifier: Apache-2.0
"""Parquet files, through an uncompressed copy that is mapped into memory.

Parquet keeps rows in compressed groups: reading rows in a shuffled order would decompress a group for every one.
"""

import pathlib

import pyarrow
import pyarrow.parquet

from t5x_lite.data.sources.base import BadRecord, Record
from t5x_lite.files.atomic_write import written_atomically
from t5x_lite.files.messages import listed

ROWS_AT_ONCE = 1_024


class ParquetRows:
    """The rows of a Parquet file; a record's fields are its columns.

    Args:
      path: the file.
      copy: where its uncompressed copy is, in Arrow's file format, or will be.

    Raises:
      ValueError: if it is not a Parquet file, or the names of its columns are not distinct.
    """

    def __init__(self, path: pathlib.Path, copy: pathlib.Path):
        self.path, self.copy = path, copy
        if not copy.is_file():
            _uncompress(path, copy)
        with pyarrow.memory_map(str(copy)) as file:
            self._table = pyarrow.ipc.open_file(file).read_all()
        names = self._table.column_names
        if len(set(names)) < len(names):
            raise ValueError(f"{path} names columns {listed(names)}, some of them twice: give each a name of its own")

    def __len__(self) -> int:
        return self._table.num_rows

    def __getitem__(self, index: int) -> Record:
        try:
            return self._table.slice(index, 1).to_pylist()[0]
        except (ValueError, OverflowError, pyarrow.ArrowException) as error:  # not UTF-8, or the year 20,000
            raise BadRecord(f"{self.where(index)} has a value that cannot be read ({error}): mend the file") from error

    def where(self, index: int) -> str:
        return f"{self.path} row {index + 1}"

    def __reduce__(self):
        return type(self), (self.path, self.copy)


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
        if isinstance(error, OSError) and error.errno:  # the disk's trouble, or the user's rights
            raise
        raise ValueError(f"{path} is not a whole Parquet file ({error}): fetch or write it again") from error
