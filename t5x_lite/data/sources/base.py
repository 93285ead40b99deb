# SPDX-License-Identifier: Apache-2.0
"""What every source is: records by number, so that an example is a function of (seed, index) and nothing else."""

import bisect
import itertools
import json
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


def decoded(content: bytes, where: str) -> str:
    """Returns the text of a record; `where` is where it came from.

    Raises:
      BadRecord: if it is not UTF-8.
    """
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise BadRecord(
            f"{where} is not UTF-8 (its byte {error.start} is 0x{content[error.start]:02x}): convert the file to UTF-8"
        ) from error


def json_object(text: str, where: str) -> Record:
    """Returns the fields of a JSON object; of a name that comes twice, the last value. `where` is where it came from.

    Raises:
      BadRecord: if it is none.
    """
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits is a ValueError
        reason = f"{error.msg}, column {error.colno}" if isinstance(error, json.JSONDecodeError) else str(error)
        raise BadRecord(f"{where} is not valid JSON ({reason}): mend or remove the record") from error
    if not isinstance(record, dict):
        raise BadRecord(f"{where} is a JSON {type(record).__name__}: make each record an object, {{...}}")
    return record
