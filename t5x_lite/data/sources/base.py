# SPDX-License-Identifier: Apache-2.0
"""The `Source` interface, a fixed sequence of records with random access, and the sources in memory."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, Protocol

Record = dict[str, Any]
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
