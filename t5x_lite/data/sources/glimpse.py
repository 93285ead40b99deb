# SPDX-License-Identifier: Apache-2.0
"""Opens a few records of named sources, without unpacking or indexing large files."""

import pathlib
from collections.abc import Iterator, Sequence

from t5x_lite.config import TaskConfig
from t5x_lite.data.sources.array_records import ArrayRecords
from t5x_lite.data.sources.base import HUGGING_FACE, BadRecord, InMemory, Source
from t5x_lite.data.sources.files import (
    ARRAY_RECORD_SUFFIXES,
    DELIMITERS,
    JSON,
    find_files,
    open_plain,
    opened,
    suffix,
)
from t5x_lite.data.sources.opening import open_names, open_one
from t5x_lite.data.sources.python import import_object, is_object

WHOLE_BYTES = 2**20  # of uncompressed files that are read as a whole, and of the beginnings of others
FEW_RECORDS = 16  # of a source with random access
PARQUET = ".parquet"


def few_of_each(
    task: TaskConfig, names: Sequence[str], field: str, cache: pathlib.Path
) -> Iterator[tuple[Source, int | None]]:
    """Yields a source for each kind of file and each dataset, with the number of records to read, or None for all.

    Python functions are not called, and nothing is downloaded.
    """
    files = []
    for name in names:
        if is_object(name):
            value = import_object(name, field)
            if isinstance(value, (list, tuple)):
                yield InMemory(value, name), FEW_RECORDS
        elif (
            name.startswith(HUGGING_FACE)
            and not pathlib.Path(name.removeprefix(HUGGING_FACE).partition("@")[0]).is_dir()
        ):
            continue
        elif (source := open_one(name, field)) is not None:
            yield source, FEW_RECORDS
        else:
            files.append(name)
    found = find_files(files, field) if files else []
    if len(files) == len(names) and _is_small(found):
        yield (
            open_names(task, tuple(names) if len(names) > 1 else names[0], cache, field=field, open_text=None).records,
            None,
        )
        return
    for path in {suffix(path): path for path in reversed(found) if path.stat().st_size}.values():
        yield from _few_of(path, task, cache)
    if task.bad_records == "error" and (empty := [path for path in found if not path.stat().st_size]):
        raise BadRecord(f"{empty[0]} is empty: fill or remove it, or set task.bad_records to skip")


def _is_small(files: Sequence[pathlib.Path]) -> bool:
    is_plain = all(suffix(file) == file.suffix.lower() not in (PARQUET, *ARRAY_RECORD_SUFFIXES) for file in files)
    return is_plain and sum(file.stat().st_size for file in files) <= WHOLE_BYTES


def _few_of(path: pathlib.Path, task: TaskConfig, cache: pathlib.Path) -> Iterator[tuple[Source, int]]:
    """Yields the beginning of a file as a source, and the number of its records to read."""
    kind = suffix(path)
    if kind in ARRAY_RECORD_SUFFIXES:
        yield ArrayRecords(path), FEW_RECORDS
    elif kind == PARQUET:
        import pyarrow.parquet

        with pyarrow.parquet.ParquetFile(path) as parquet:
            rows = next(parquet.iter_batches(FEW_RECORDS), None)
        yield InMemory(rows.to_pylist() if rows is not None else [], str(path)), FEW_RECORDS
    elif kind != JSON:  # the end of an array is needed to read it
        with opened(path) as file:
            begin = file.read(WHOLE_BYTES)
        if len(begin) == WHOLE_BYTES:
            begin = begin[: begin.rfind(b"\n") + 1]
        content = cache / f"begin{kind}"
        content.write_bytes(begin)
        source = open_plain(content, path, task, cache)
        # The last row of a CSV file may go on after a line break.
        yield source, len(source) - (kind in DELIMITERS and len(begin) > WHOLE_BYTES // 2)
