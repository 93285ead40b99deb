# SPDX-License-Identifier: Apache-2.0
"""The interface of sources: a known number of records in a fixed order, read from any of them on."""

import bisect
import hashlib
import itertools
import json
import os
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

Record = dict[str, Any]


class BadRecord(ValueError):
    """A record that cannot be read or used; the message names its location and the remedy."""


class Located(NamedTuple):
    """A record, or the error of a malformed one, and its location."""

    where: str  # for error messages: `novels.jsonl line 7`
    record: Record | BadRecord


class Source(Protocol):
    """Records in a fixed order, numbered from 0."""

    def __len__(self) -> int: ...

    def read(self, numbers: Iterable[int]) -> Iterator[Located]:
        """Yields the records with these numbers; increasing ones are read fastest."""
        ...


class IndexedSource:
    """A source whose records are read by number; subclasses define `__len__`, `__getitem__` and `where`."""

    def __getitem__(self, number: int) -> Record:
        """Returns a record; raises BadRecord if it is malformed."""
        raise NotImplementedError

    def where(self, number: int) -> str:
        """Returns the location of a record."""
        raise NotImplementedError

    def read(self, numbers: Iterable[int]) -> Iterator[Located]:
        """Yields the records with these numbers."""
        for number in numbers:
            try:
                record = self[number]
            except BadRecord as error:
                record = error
            yield Located(self.where(number), record)


class Concatenated:
    """Several sources, one after the other.

    Args:
      sources: the sources, at least one.
    """

    def __init__(self, sources: Sequence[Source]):
        self._sources = sources
        self._ends = list(itertools.accumulate(map(len, sources)))

    def __len__(self) -> int:
        return self._ends[-1]

    def read(self, numbers: Iterable[int]) -> Iterator[Located]:
        """Yields the records with these numbers."""
        for i, group in itertools.groupby(numbers, lambda number: bisect.bisect_right(self._ends, number)):
            start = self._ends[i - 1] if i else 0
            yield from self._sources[i].read(number - start for number in group)


class InMemory(IndexedSource):
    """Records of a Python sequence: mappings, or strings, which become the field `text`.

    Args:
      records: a sequence of records.
      name: the name of the sequence in errors.
    """

    def __init__(self, records: Sequence[Any], name: str):
        self._records, self._name = records, name

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, number: int) -> Record:
        record = self._records[number]
        if isinstance(record, str):
            return {"text": record}
        try:
            return dict(record)
        except (TypeError, ValueError) as error:
            raise BadRecord(
                f"{self.where(number)} is a {type(record).__name__}: make the function return mappings or strings"
            ) from error

    def where(self, number: int) -> str:
        return f"{self._name} record {number}"


def decoded(content: bytes, where: str) -> str:
    """Returns the text of a record; raises BadRecord if it is not UTF-8."""
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise BadRecord(
            f"{where} is not UTF-8 (its byte {error.start} is 0x{content[error.start]:02x}): convert the file to UTF-8"
        ) from error


def json_object(text: str, where: str) -> Record:
    """Returns the fields of a JSON object; raises BadRecord if the text is anything else."""
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits is a ValueError
        reason = f"{error.msg}, column {error.colno}" if isinstance(error, json.JSONDecodeError) else str(error)
        raise BadRecord(f"{where} is not valid JSON ({reason}): fix or remove the record") from error
    if not isinstance(record, dict):
        raise BadRecord(f"{where} is a JSON {type(record).__name__}: make each record an object, {{...}}")
    return record


class FileState(NamedTuple):
    """The size and modification time of a file, which change when the file does."""

    num_bytes: int
    nanoseconds: int


def state_of(file: pathlib.Path | int) -> FileState:
    """Returns the state of a file, given its path or open descriptor."""
    stat = os.stat(file)
    return FileState(stat.st_size, stat.st_mtime_ns)


def check_unchanged(name: str, before: FileState, now: FileState) -> None:
    """Raises ValueError if a file, called `name` in the error, has changed since it was opened."""
    if now != before:
        raise ValueError(f"{name} has changed since it was opened: run again once nothing writes to it any more")


def file_key(path: pathlib.Path) -> str:
    """Returns a name for files derived from a file; it changes when the file does."""
    num_bytes, nanoseconds = state_of(path)
    digest = hashlib.blake2b(f"{path.resolve()} {num_bytes} {nanoseconds}".encode(), digest_size=6)
    return f"{path.name.split('.')[0]}-{digest.hexdigest()}"
