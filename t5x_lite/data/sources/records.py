# SPDX-License-Identifier: Apache-2.0
"""What every source is: records by number, so that an example is a function of (seed, index) and nothing else."""

import bisect
import itertools
from collections.abc import Sequence
from typing import Any, Protocol

Record = dict[str, Any]


class BadRecord(ValueError):
    """A record that cannot be read or used; the message says where it is and what to do."""


class Source(Protocol):
    """Records in a fixed order, each read when it is asked for."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Record:
        """Returns a record's fields by name; raises BadRecord if it is malformed."""
        ...

    def where(self, index: int) -> str:
        """Returns where a record came from, for error messages: `novels.jsonl line 7`."""
        ...


class Concatenated:
    """Sources one after the other.

    Args:
      sources: at least one.
    """

    def __init__(self, sources: Sequence[Source]):
        self.sources = sources
        self._ends = list(itertools.accumulate(map(len, sources)))

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, index: int) -> Record:
        source, local = self._find(index)
        return source[local]

    def where(self, index: int) -> str:
        source, local = self._find(index)
        return source.where(local)

    def _find(self, index: int) -> tuple[Source, int]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        number = bisect.bisect_right(self._ends, index)
        return self.sources[number], index - (self._ends[number - 1] if number else 0)


class InMemory:
    """Records that a Python function returned: mappings, or texts, which become the field `text`.

    Args:
      records: what was returned; anything with a length and items by number.
      name: what errors call it.
    """

    def __init__(self, records: Sequence[Any], name: str):
        self._records, self._name = records, name

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> Record:
        record = self._records[index]
        if isinstance(record, str):
            return {"text": record}
        try:
            return dict(record)
        except (TypeError, ValueError) as error:
            raise BadRecord(
                f"{self.where(index)} is a {type(record).__name__}: make the function return mappings or strings"
            ) from error

    def where(self, index: int) -> str:
        return f"{self._name} record {index}"
