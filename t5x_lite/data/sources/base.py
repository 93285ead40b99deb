# SPDX-License-Identifier: Apache-2.0
"""The `Source` interface, a fixed sequence of records with random access, and code shared by its implementations."""

import bisect
import hashlib
import itertools
import json
import os
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

Record = dict[str, Any]
FileState = tuple[int, int]  # size in bytes and modification time in nanoseconds, to detect changes
TFDS, HUGGING_FACE = "tfds:", "hf:"  # prefixes of names


class BadRecord(ValueError):
    """A record that cannot be used; the message names its location and the remedy."""


class Located(NamedTuple):
    """A record, or the error if it is malformed, with its location."""

    where: str  # for error messages: `novels.jsonl line 7`
    record: Record | BadRecord


class Source(Protocol):
    """Records in a fixed order, numbered from 0."""

    def __len__(self) -> int: ...

    def read(self, numbers: Iterable[int]) -> Iterator[Located]:
        """Yields the records with these numbers; reading in increasing order is fastest."""
        ...


class IndexedSource:
    """Base class of sources that read records one by one; subclasses define `__getitem__`.

    Args:
      items: the records in the source's native form.
      name: the name of the source in errors.
    """

    unit = "record"  # in errors

    def __init__(self, items: Any, name: str):
        self._items, self._name = items, name

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, number: int) -> Record:
        """Returns a record, or raises BadRecord if it is malformed."""
        raise NotImplementedError

    def where(self, number: int) -> str:
        """Returns the location of a record."""
        return f"{self._name} {self.unit} {number}"

    def read(self, numbers: Iterable[int]) -> Iterator[Located]:
        for number in numbers:
            try:
                record = self[number]
            except BadRecord as error:
                record = error
            yield Located(self.where(number), record)


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


class InMemory(IndexedSource):
    """A Python sequence of mappings, or of strings, which become the field `text`."""

    def __getitem__(self, number: int) -> Record:
        record = self._items[number]
        if isinstance(record, str):
            return {"text": record}
        try:
            return dict(record)
        except (TypeError, ValueError) as error:
            raise BadRecord(
                f"{self.where(number)} is a {type(record).__name__}: make each record a mapping or a string"
            ) from error


def decoded(content: bytes, where: str) -> str:
    """Decodes a record as UTF-8, or raises BadRecord."""
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise BadRecord(
            f"{where} is not UTF-8 (its byte {error.start} is 0x{content[error.start]:02x}): convert the file to "
            "UTF-8, as with iconv -f latin1 -t utf-8"
        ) from error


def json_object(text: str, where: str) -> Record:
    """Parses a JSON object, or raises BadRecord."""
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError also for integers of over 4,300 digits
        reason = str(error).partition(";")[0]  # without Python's advice to raise the limit
        if isinstance(error, json.JSONDecodeError):
            reason = f"{error.msg}, column {error.colno}"
        raise BadRecord(f"{where} is not valid JSON ({reason}): fix or remove the record") from error
    if not isinstance(record, dict):
        raise BadRecord(f"{where} is a JSON {type(record).__name__}: make each record an object, {{...}}")
    return record


def state_of(file: pathlib.Path | int) -> FileState:
    """Returns the state of a file, given by path or descriptor."""
    stat = os.stat(file)
    return stat.st_size, stat.st_mtime_ns


def check_unchanged(name: str, before: FileState, now: FileState) -> None:
    """Raises ValueError if the file has changed since it was opened."""
    if now != before:
        raise ValueError(f"{name} has changed since it was opened: run again when nothing is writing to it")


def file_key(path: pathlib.Path) -> str:
    """Returns a name for cached files derived from this one, which changes whenever the file does."""
    num_bytes, nanoseconds = state_of(path)
    digest = hashlib.blake2b(f"{path.resolve()} {num_bytes} {nanoseconds}".encode(), digest_size=6)
    return f"{path.name.split('.')[0]}-{digest.hexdigest()}"
