# SPDX-License-Identifier: Apache-2.0
"""Files whose records are stretches of bytes: text, JSON lines, CSV and TSV.

A record costs one look-up whichever it is. Files are read and not mapped into memory: a mapping of a file that somebody
cuts short ends the process.
"""

import csv
import functools
import io
import os
import pathlib
from collections.abc import Sequence
from typing import BinaryIO

from t5x_lite.data.sources.base import BadRecord, Record, decoded, json_object
from t5x_lite.data.sources.index import indexed_spans
from t5x_lite.data.sources.spans import (
    MOST_CHARACTERS,
    Spans,
    find_lines,
    find_paragraphs,
    find_quoted_rows,
    find_whole,
)
from t5x_lite.data.sources.state import State, check_unchanged, state_of
from t5x_lite.files.messages import listed

MOST_BYTES = 2**30  # of a record: Python would hold several copies of it
MOST_OPEN = 64  # files at once: a source may have more than a process may open


class SpanFile:
    """A file cut into records; subclasses say where they are and what their bytes mean.

    Args:
      path: an existing file that is not compressed.
      name: what errors call it: the file the user named, if `path` is a decompressed copy.
      cache: directory for an index, which saves others from reading through a large file; None makes none.

    Raises:
      OSError: if it cannot be read.
    """

    kind: str  # of records, by where they begin and end

    def __init__(self, path: pathlib.Path, name: str | None = None, cache: pathlib.Path | None = None):
        self.path, self.name, self.cache = path, name or str(path), cache
        self._state = state_of(path)
        self._spans = indexed_spans(path, self.kind, cache, self._find) if cache else self._find()

    def __len__(self) -> int:
        return len(self._spans.begin)

    def __getitem__(self, index: int) -> Record:
        return self._parse(decoded(self._read(self._spans, index), self.where(index)), index)

    def where(self, index: int) -> str:
        return f"{self.name} line {self._spans.line[index]}"

    def __reduce__(self):
        return type(self), (self.path, self.name, self.cache)

    def _find(self) -> Spans:
        with self.path.open("rb") as file:
            return self._find_spans(file)

    def _read(self, spans: Spans, index: int) -> bytes:
        begin, size = int(spans.begin[index]), int(spans.end[index] - spans.begin[index])
        if size > MOST_BYTES:
            raise BadRecord(
                f"{self.name} line {spans.line[index]} begins a record of {size:,} bytes, and {MOST_BYTES:,} are the "
                "most: cut it up, or set task.text_unit of a text file to paragraph or line"
            )
        file = _open(self.path, self._state).number
        content = os.pread(file, size, begin)
        check_unchanged(self.name, self._state, state_of(file))
        return content

    def _find_spans(self, file: BinaryIO) -> Spans:
        raise NotImplementedError

    def _parse(self, text: str, index: int) -> Record:
        raise NotImplementedError


class WholeText(SpanFile):
    """A text file that is one document: fields `text`, and of the file, whose name may be a label, `file`, `folder`."""

    kind = "file"

    def where(self, index: int) -> str:
        return self.name

    def _find_spans(self, file: BinaryIO) -> Spans:
        return find_whole(file)

    def _parse(self, text: str, index: int) -> Record:
        return _text_record(text, self.name)


class TextLines(SpanFile):
    """A text file with a document a line."""

    kind = "lines"

    def _find_spans(self, file: BinaryIO) -> Spans:
        return find_lines(file)

    def _parse(self, text: str, index: int) -> Record:
        return _text_record(text, self.name)


class TextParagraphs(TextLines):
    """A text file with documents between empty lines."""

    kind = "paragraphs"

    def _find_spans(self, file: BinaryIO) -> Spans:
        return find_paragraphs(file)


class JsonLines(SpanFile):
    """A file with a JSON object a line."""

    kind = "lines"

    def _find_spans(self, file: BinaryIO) -> Spans:
        return find_lines(file)

    def _parse(self, text: str, index: int) -> Record:
        return json_object(text, self.where(index))


class Delimited(SpanFile):
    """A CSV or TSV file, whose values are all text; quoted values may hold line breaks.

    Args:
      path: an existing file that is not compressed.
      name: what errors call it.
      cache: directory for an index, or None.
      delimiter: between values. Quotes mean something where it is a comma alone: T5's tab-separated sets have none.
      columns: names of the columns; None takes them from the first line.

    Raises:
      ValueError: if the names are not distinct, or the quotes or line breaks do not make sense.
      OSError: if it cannot be read.
    """

    def __init__(
        self,
        path: pathlib.Path,
        name: str | None = None,
        cache: pathlib.Path | None = None,
        *,
        delimiter: str,
        columns: Sequence[str] | None = None,
    ):
        self.delimiter, self.given_columns = delimiter, columns
        self.kind = "rows" if self._has_quotes else "lines"
        super().__init__(path, name, cache)
        if columns is None and len(self):
            columns = self._values(decoded(self._read(self._spans, 0), self.where(0)))
            self._spans = Spans(*(values[1:] for values in self._spans))
        self.columns = tuple(columns or ())
        if len(set(self.columns)) < len(self.columns):
            raise ValueError(
                f"{self.name} names columns {listed(self.columns)}, some of them twice: give each a name of its own "
                "in task.columns, and remove the first line"
            )

    def __reduce__(self):
        return _make_delimited, (self.path, self.name, self.cache, self.delimiter, self.given_columns)

    @property
    def _has_quotes(self) -> bool:
        return self.delimiter == ","

    def _find_spans(self, file: BinaryIO) -> Spans:
        return find_quoted_rows(file, self.name) if self._has_quotes else find_lines(file)

    def _values(self, text: str) -> list[str]:
        if not self._has_quotes:
            return text.split(self.delimiter)
        csv.field_size_limit(MOST_CHARACTERS)
        return next(csv.reader(io.StringIO(text, newline="")))

    def _parse(self, text: str, index: int) -> Record:
        values = self._values(text)
        if len(values) != len(self.columns):
            raise BadRecord(
                f"{self.where(index)} has {len(values)} values, and there are {len(self.columns)} columns "
                f"({listed(self.columns)}): mend or remove the line"
            )
        return dict(zip(self.columns, values, strict=True))


def _text_record(text: str, name: str) -> Record:
    path = pathlib.PurePath(name)
    return {"text": text, "file": path.name, "folder": path.parent.name}


class _OpenFile:
    """A file's descriptor, closed when nobody holds it any more: another thread may be reading."""

    def __init__(self, path: pathlib.Path):
        self.number = os.open(path, os.O_RDONLY)

    def __del__(self):
        if hasattr(self, "number"):
            os.close(self.number)


@functools.lru_cache(MOST_OPEN)
def _open(path: pathlib.Path, state: State) -> _OpenFile:
    """Opens a file; one that has changed since is another file."""
    del state
    return _OpenFile(path)


def _make_delimited(path, name, cache, delimiter, columns) -> Delimited:
    return Delimited(path, name, cache, delimiter=delimiter, columns=columns)
