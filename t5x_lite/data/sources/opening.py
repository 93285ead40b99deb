# SPDX-License-Identifier: Apache-2.0
"""Opens sources that are named: files, datasets and Python objects, one after the other."""

import bisect
import itertools
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from t5x_lite.config import TaskConfig
from t5x_lite.data.sources import Names, Opened, named, skip
from t5x_lite.data.sources.base import HUGGING_FACE, TFDS, BadRecord, Located, Source

if TYPE_CHECKING:
    from t5x_lite.data.sources.text_files import OpenText


class Concatenated:
    """The concatenation of one or more sources."""

    def __init__(self, sources: Sequence[Source]):
        self._sources = sources
        self._ends = list(itertools.accumulate(map(len, sources)))

    def __len__(self) -> int:
        return self._ends[-1]

    def read(self, numbers: Iterable[int]) -> Iterator[Located]:
        for i, group in itertools.groupby(numbers, lambda number: bisect.bisect_right(self._ends, number)):
            start = self._ends[i - 1] if i else 0
            yield from self._sources[i].read(number - start for number in group)


def open_names(
    task: TaskConfig, names: Names, cache: pathlib.Path, *, field: str, open_text: "OpenText | None"
) -> Opened:
    """Opens sources; arguments and errors as in `open_source`."""
    opened, skipped, files = [], [], []
    for name in (names,) if isinstance(names, str) else names:
        if (source := open_one(name, field)) is not None:
            opened.append(source)
        else:
            files.append(name)
    if files:
        from t5x_lite.data.sources.files import find_files, open_file

        for path in find_files(files, field, any_type=open_text is not None):
            source = open_file(path, task, cache, open_text, field=field)
            if len(source):
                opened.append(source)
            else:
                skip(BadRecord(f"{path} is empty: fill or remove it"), task, skipped)
    if not sum(map(len, opened)):
        what = "its files are empty" if files else "it is empty"
        raise ValueError(f"{field} {named(names)} has no records: {what}")
    return Opened(Concatenated(opened), skipped)


def open_one(name: str, field: str) -> Source | None:
    """Opens a dataset or a Python object; returns None if the name refers to files."""
    if name.startswith(TFDS):
        from t5x_lite.data.sources.tfds import open_named

        return open_named(name, field)
    if name.startswith(HUGGING_FACE):
        from t5x_lite.data.sources.huggingface import open_dataset

        return open_dataset(name, field)
    from t5x_lite.data.sources.python import is_object, open_object

    return open_object(name, field) if is_object(name) else None
