# SPDX-License-Identifier: Apache-2.0
"""Files whose records are stretches of bytes: text, JSON lines, CSV and TSV.

A file is read through once to find where its records begin and end. From then on it is mapped into memory, and a record
costs one look-up whichever it is.
"""

import csv
import io
import json
import mmap
import pathlib
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from t5x_lite.data.sources.records import BadRecord, Record

BLOCK_BYTES = 2**24
# Between paragraphs: an empty line, or one of blanks.
PARAGRAPH_BREAK = re.compile(rb"\r?\n(?:[ \t]*\r?\n)+")
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Spans(NamedTuple):
    """Where records are in a file; one entry a record in each array."""

    begin: np.ndarray  # of bytes
    end: np.ndarray
    line: np.ndarray  # number of the first line, from 1


class SpanFile:
    """A file cut into records by `Spans`; subclasses say what a record's bytes mean.

    Args:
      path: an existing file that is not compressed.
      name: what errors call it: the file the user named, if `path` is a decompressed copy.
    """

    def __init__(self, path: pathlib.Path, name: str | None = None):
        self.path, self.name = path, name or str(path)
        self._bytes = _map(path)
        self._spans = self._find_spans()

    def __len__(self) -> int:
        return len(self._spans.begin)

    def __getitem__(self, index: int) -> Record:
        content = self._bytes[self._spans.begin[index] : self._spans.end[index]]
        return self._parse(_decoded(content, self.where(index)), index)

    def where(self, index: int) -> str:
        return f"{self.name} line {self._spans.line[index]}"

    def __reduce__(self):
        return type(self), (self.path, self.name)

    def _find_spans(self) -> Spans:
        return line_spans(self._bytes)

    def _parse(self, text: str, index: int) -> Record:
        raise NotImplementedError


class WholeText(SpanFile):
    """A text file that is one document: the record's field `text`."""

    def where(self, index: int) -> str:
        return self.name

    def _find_spans(self) -> Spans:
        size = len(self._bytes)
        return _spans([_after_mark(self._bytes)], [size], [1]) if size else _spans([], [], [])

    def _parse(self, text: str, index: int) -> Record:
        return {"text": text}


class TextLines(SpanFile):
    """A text file with a document a line."""

    def _parse(self, text: str, index: int) -> Record:
        return {"text": text}


class TextParagraphs(TextLines):
    """A text file with documents between empty lines."""

    def _find_spans(self) -> Spans:
        begins, ends = [_after_mark(self._bytes)], []
        for gap in PARAGRAPH_BREAK.finditer(self._bytes):
            ends.append(gap.start())
            begins.append(gap.end())
        ends.append(len(self._bytes))
        kept = [(begin, end) for begin, end in zip(begins, ends, strict=True) if self._bytes[begin:end].strip()]
        newlines = _newlines(self._bytes)
        lines = np.searchsorted(newlines, [begin for begin, _ in kept]) + 1
        return _spans([begin for begin, _ in kept], [end for _, end in kept], lines)


class JsonLines(SpanFile):
    """A file with a JSON object a line."""

    def _parse(self, text: str, index: int) -> Record:
        try:
            record = json.loads(text)
        except (ValueError, RecursionError) as error:  # a number of 5,000 digits is a ValueError
            reason = f"{error.msg}, column {error.colno}" if isinstance(error, json.JSONDecodeError) else str(error)
            raise BadRecord(f"{self.where(index)} is not valid JSON ({reason}): mend or remove the line") from error
        if not isinstance(record, dict):
            kind = type(record).__name__
            raise BadRecord(f"{self.where(index)} is a JSON {kind}: make each line an object, {{...}}")
        return record


class Delimited(SpanFile):
    """A CSV or TSV file, whose values are all text; quoted values may hold line breaks.

    Args:
      path: an existing file that is not compressed.
      name: what errors call it.
      delimiter: between values. Quotes mean something where it is a comma alone: T5's tab-separated sets have none.
      columns: names of the columns; None takes them from the first line.

    Raises:
      ValueError: if the names are not distinct, or the quotes or line breaks do not make sense.
    """

    def __init__(
        self, path: pathlib.Path, name: str | None = None, *, delimiter: str, columns: Sequence[str] | None = None
    ):
        self.delimiter, self.given_columns = delimiter, columns
        self._options = {"delimiter": delimiter, "quoting": csv.QUOTE_MINIMAL if delimiter == "," else csv.QUOTE_NONE}
        super().__init__(path, name)

    def __reduce__(self):
        return _make_delimited, (self.path, self.name, self.delimiter, self.given_columns)

    def _find_spans(self) -> Spans:
        csv.field_size_limit(2**31 - 1)  # else a value of more than 131,072 characters is an error
        rows = list(self._rows())
        columns = self.given_columns
        if columns is None and rows:
            begin, end, _ = rows.pop(0)
            columns = self._values(_decoded(self._bytes[begin:end], f"{self.name} line 1"))
        self.columns = tuple(columns or ())
        if len(set(self.columns)) < len(self.columns):
            raise ValueError(
                f"{self.name} names columns {', '.join(self.columns)}, some of them twice: give each a name of its own "
                "in task.columns, and remove the first line"
            )
        return _spans(*zip(*rows, strict=True)) if rows else _spans([], [], [])

    def _rows(self) -> Iterator[tuple[int, int, int]]:
        """Begin, end and line of every row that is not empty."""
        if not isinstance(self._bytes, mmap.mmap):
            return
        here, line = _after_mark(self._bytes), 0

        def lines() -> Iterator[str]:
            nonlocal here, line
            assert isinstance(self._bytes, mmap.mmap)
            self._bytes.seek(here)
            while content := self._bytes.readline():
                here, line = here + len(content), line + 1
                yield content.decode(errors="surrogateescape")

        reader, begin, first = csv.reader(lines(), **self._options), here, 1
        try:
            for row in reader:
                if row:
                    yield begin, here, first
                begin, first = here, line + 1
        except csv.Error as error:
            raise ValueError(f"{self.name} line {line} is not valid {self._kind()} ({error}): mend the file") from error

    def _values(self, text: str) -> list[str]:
        if self.delimiter != ",":
            return text.rstrip("\r\n").split(self.delimiter)
        return next(csv.reader(io.StringIO(text, newline=""), **self._options))

    def _kind(self) -> str:
        return "CSV" if self.delimiter == "," else "TSV"

    def _parse(self, text: str, index: int) -> Record:
        values = self._values(text)
        if len(values) != len(self.columns):
            raise BadRecord(
                f"{self.where(index)} has {len(values)} values, and there are {len(self.columns)} columns "
                f"({', '.join(self.columns)}): mend or remove the line"
            )
        return dict(zip(self.columns, values, strict=True))


def line_spans(content: mmap.mmap | bytes) -> Spans:
    """Returns where the lines are that are not empty, line ends left out."""
    ends = _newlines(content)
    if len(content) and (not len(ends) or ends[-1] != len(content) - 1):
        ends = np.append(ends, len(content))
    begins = np.concatenate([[_after_mark(content)], ends[:-1] + 1]).astype(np.int64)[: len(ends)]
    view = np.frombuffer(content, np.uint8) if len(content) else np.zeros(0, np.uint8)
    has_return = (ends > begins) & (view[np.maximum(ends - 1, 0)] == ord("\r")) if len(ends) else np.zeros(0, bool)
    ends = ends - has_return
    kept = np.flatnonzero(ends > begins)
    return Spans(begins[kept], ends[kept], kept + 1)


def _decoded(content: bytes, where: str) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise BadRecord(
            f"{where} is not UTF-8 (its byte {error.start} is 0x{content[error.start]:02x}): convert the file to UTF-8"
        ) from error


def _make_delimited(path, name, delimiter, columns) -> Delimited:
    return Delimited(path, name, delimiter=delimiter, columns=columns)


def _map(path: pathlib.Path) -> mmap.mmap | bytes:
    with path.open("rb") as file:
        if not path.stat().st_size:
            return b""  # which cannot be mapped
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _newlines(content: mmap.mmap | bytes) -> np.ndarray:
    found = [np.zeros(0, np.int64)]
    for begin in range(0, len(content), BLOCK_BYTES):
        block = np.frombuffer(content[begin : begin + BLOCK_BYTES], np.uint8)
        found.append(np.flatnonzero(block == ord("\n")) + begin)
    return np.concatenate(found)


def _after_mark(content: mmap.mmap | bytes) -> int:
    return len(BYTE_ORDER_MARK) if content[: len(BYTE_ORDER_MARK)] == BYTE_ORDER_MARK else 0


def _spans(begins, ends, lines) -> Spans:
    return Spans(*(np.asarray(values, np.int64) for values in (begins, ends, lines)))
