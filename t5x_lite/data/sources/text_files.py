# SPDX-License-Identifier: Apache-2.0
"""Text files, JSON lines, CSV and TSV: files that are read forward, starting at any record.

A file is read through once to count its records, noting the byte offset of every 64th, where reading can start. Files
are read and not memory-mapped: truncating a mapped file would kill the process.
"""

import array
import contextlib
import csv
import io
import itertools
import pathlib
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import BinaryIO, NamedTuple

import numpy as np

from t5x_lite.data.sources.base import (
    BadRecord,
    Located,
    Record,
    check_unchanged,
    decoded,
    file_key,
    json_object,
    state_of,
)
from t5x_lite.files.atomic_write import written_atomically
from t5x_lite.files.messages import listed

MAX_BYTES = 2**30  # of a record: Python would hold several copies of it
# Of a CSV value, and bytes of a CSV line: an unclosed quote would swallow the rest of the file, and Python's reader
# needs up to eight bytes per character.
MAX_CHARACTERS = 2**26
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
RECORDS_PER_OFFSET = 64
MIN_INDEXED_BYTES = 2**24  # files below this are counted again by each process, in a tenth of a second


class RawRecord(NamedTuple):
    """The bytes of a record, with the place where they begin."""

    offset: int  # in bytes
    line: int  # counted from 1
    content: bytes


class TextFile:
    """A file of records, one per line unless a subclass splits it otherwise; subclasses parse the records.

    Args:
      path: an uncompressed file.
      name: the name of the file in errors, if `path` is a decompressed copy.
      cache: the directory for the offsets of large files, for other processes to find; None keeps them in memory.

    Raises:
      OSError: if the file cannot be read.
    """

    kind = "lines"  # what records are; part of the name of the cached offsets
    num_header_records = 0

    def __init__(self, path: pathlib.Path, name: str | None = None, cache: pathlib.Path | None = None):
        self.path, self.name = path, name or str(path)
        self._state = state_of(path)
        index = self._cached_index(cache / f"{file_key(path)}.{self.kind}.offsets.npy") if cache else self._index()
        self._length, self._starts = int(index[0, 0]), index[1:]

    def __len__(self) -> int:
        return max(self._length - self.num_header_records, 0)

    def read(self, numbers: Iterable[int]) -> Iterator[Located]:
        """Yields the records with these numbers."""
        with self.path.open("rb") as file:
            raw_records: Iterator[RawRecord] = iter(())
            position = -1  # the number of the record that `raw_records` yields next
            for number in numbers:
                number += self.num_header_records
                start = number // RECORDS_PER_OFFSET
                if not 0 <= position <= number or position < start * RECORDS_PER_OFFSET:
                    offset, line = map(int, self._starts[start])
                    file.seek(offset)
                    raw_records, position = self._split(file, line), start * RECORDS_PER_OFFSET
                raw = next(itertools.islice(raw_records, number - position, None), None)
                position = number + 1
                check_unchanged(self.name, self._state, state_of(file.fileno()))
                assert raw is not None
                yield self._located(raw)

    def _located(self, raw: RawRecord) -> Located:
        where = self._where(raw.line)
        try:
            if len(raw.content) > MAX_BYTES:
                raise BadRecord(
                    f"{self.name} line {raw.line} begins a record of more than {MAX_BYTES:,} bytes: split it, or set "
                    "task.text_unit of a text file to paragraph or line"
                )
            return Located(where, self._parse(decoded(raw.content, where), where))
        except BadRecord as error:
            return Located(where, error)

    def _where(self, line: int) -> str:
        return f"{self.name} line {line}"

    def _split(self, file: BinaryIO, line: int) -> Iterator[RawRecord]:
        """Yields the records of an open file from its position on, which is the beginning of this line."""
        return split_lines(file, line)

    def _parse(self, text: str, where: str) -> Record:
        raise NotImplementedError

    def _raw_records(self) -> Generator[RawRecord, None, None]:
        with self.path.open("rb") as file:
            if file.read(len(BYTE_ORDER_MARK)) != BYTE_ORDER_MARK:
                file.seek(0)
            yield from self._split(file, 1)

    def _index(self) -> np.ndarray:
        """Returns rows of two int64: the number of records, then the offset and line of every 64th record."""
        starts, count = array.array("q"), 0
        for raw in self._raw_records():
            if count % RECORDS_PER_OFFSET == 0:
                starts.extend((raw.offset, raw.line))
            count += 1
        return np.array([count, 0, *starts], np.int64).reshape(-1, 2)

    def _cached_index(self, path: pathlib.Path) -> np.ndarray:
        if self._state.num_bytes < MIN_INDEXED_BYTES:
            return self._index()
        with contextlib.suppress(OSError, ValueError, EOFError):  # absent, or damaged
            index = np.load(path)
            if index.dtype == np.int64 and index.shape[1:] == (2,):
                return index
        index = self._index()
        with contextlib.suppress(OSError), written_atomically(path) as temporary, temporary.open("wb") as file:
            np.save(file, index)
        return index


class TextLines(TextFile):
    """A text file with a document per line; empty lines are left out."""

    def _parse(self, text: str, where: str) -> Record:
        """Returns the text, with the names of the file and its folder, which may be labels."""
        path = pathlib.PurePath(self.name)
        return {"text": text, "file": path.name, "folder": path.parent.name}


class TextParagraphs(TextLines):
    """A text file with documents between blank lines."""

    kind = "paragraphs"

    def _split(self, file: BinaryIO, line: int) -> Iterator[RawRecord]:
        return split_paragraphs(file, line)


class WholeText(TextLines):
    """A text file that is one document."""

    kind = "file"

    def _split(self, file: BinaryIO, line: int) -> Iterator[RawRecord]:
        offset, content = file.tell(), file.read(MAX_BYTES + 1)
        if offset or content:
            yield RawRecord(offset, line, content)

    def _where(self, line: int) -> str:
        return self.name


class JsonLines(TextFile):
    """A file with a JSON object per line; empty lines are left out."""

    def _parse(self, text: str, where: str) -> Record:
        return json_object(text, where)


class Delimited(TextFile):
    """A CSV or TSV file, whose values are all text; quoted values may contain line breaks.

    Args:
      path: an uncompressed file.
      name: the name of the file in errors.
      cache: the directory for the offsets of large files, or None.
      delimiter: the character between values. Quotes have a meaning only with commas: T5's TSV files have none.
      columns: the names of the columns; None reads them from the first line.

    Raises:
      ValueError: if the names are not distinct, or the quotes or line breaks are invalid.
      OSError: if the file cannot be read.
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
        self._delimiter = delimiter
        self.kind = "rows" if delimiter == "," else "lines"
        super().__init__(path, name, cache)
        if columns is None:
            self.num_header_records = 1
            with contextlib.closing(self._raw_records()) as raw_records:
                header = next(raw_records, None)
            columns = self._values(decoded(header.content, self._where(header.line))) if header else ()
        self.columns = tuple(columns)
        if len(set(self.columns)) < len(self.columns):
            raise ValueError(
                f"{self.name} has duplicate column names ({listed(self.columns)}): give each a different name in "
                "task.columns, and remove the first line"
            )

    def _split(self, file: BinaryIO, line: int) -> Iterator[RawRecord]:
        return split_csv_rows(file, line, self.name) if self._delimiter == "," else split_lines(file, line)

    def _values(self, text: str) -> list[str]:
        if self._delimiter != ",":
            return text.split(self._delimiter)
        csv.field_size_limit(MAX_CHARACTERS)
        return next(csv.reader(io.StringIO(text, newline="")))

    def _parse(self, text: str, where: str) -> Record:
        values = self._values(text)
        if len(values) != len(self.columns):
            raise BadRecord(
                f"{where} has {len(values)} values for {len(self.columns)} columns ({listed(self.columns)}): fix or "
                "remove the line"
            )
        return dict(zip(self.columns, values, strict=True))


def split_lines(file: BinaryIO, line: int) -> Iterator[RawRecord]:
    """Yields the lines that are not empty, without their line ends."""
    for offset, number, content in _whole_lines(file, line, MAX_BYTES):
        content = content.removesuffix(b"\n").removesuffix(b"\r")
        if content:
            yield RawRecord(offset, number, content)


def split_paragraphs(file: BinaryIO, line: int) -> Iterator[RawRecord]:
    """Yields runs of lines that are not blank, without the last line end."""
    lines, num_bytes = [], 0
    blank = RawRecord(0, 0, b"\n")  # ends the last paragraph
    for raw in itertools.chain(_whole_lines(file, line, MAX_BYTES), [blank]):
        if not raw.content.isspace():
            if num_bytes <= MAX_BYTES:  # the rest of a paragraph that is too long is dropped
                lines.append(raw)
            num_bytes += len(raw.content)
        elif lines:
            paragraph = _joined(lines)
            yield paragraph._replace(content=paragraph.content.rstrip(b"\r\n"))
            lines, num_bytes = [], 0


def _joined(lines: Sequence[RawRecord]) -> RawRecord:
    return lines[0]._replace(content=b"".join(raw.content for raw in lines))


def split_csv_rows(file: BinaryIO, line: int, name: str) -> Iterator[RawRecord]:
    """Yields the rows of a CSV file that are not empty, including the header.

    Args:
      file: the open file.
      line: the number of the line that it is at.
      name: the name of the file in errors.

    Raises:
      ValueError: if the quotes or line breaks are invalid.
    """
    lines: list[RawRecord] = []  # of the current row

    def texts() -> Iterator[str]:
        for raw in _whole_lines(file, line, MAX_CHARACTERS):
            lines.append(raw)
            if len(raw.content) > MAX_CHARACTERS:
                raise csv.Error(f"it has more than {MAX_CHARACTERS:,} bytes")
            yield raw.content.decode(errors="surrogateescape")

    csv.field_size_limit(MAX_CHARACTERS)  # Python's default is 131,072
    try:
        for row in csv.reader(texts()):
            if row:
                yield lines[0] if len(lines) == 1 else _joined(lines)
            lines.clear()
    except csv.Error as error:
        first, last = lines[0].line, lines[-1].line
        since = f", in a row that begins in line {first}" if first < last else ""
        raise ValueError(f"{name} line {last} is not valid CSV ({error}{since}): fix the file") from error


def _whole_lines(file: BinaryIO, line: int, max_bytes: int) -> Iterator[RawRecord]:
    """Yields every line with its line end; of a line that is too long, only `max_bytes` + 1 bytes."""
    offset = file.tell()
    while content := file.readline(max_bytes + 1):
        size, rest = len(content), content
        while len(rest) > max_bytes and not rest.endswith(b"\n"):
            rest = file.readline(max_bytes + 1)
            size += len(rest)
        yield RawRecord(offset, line, content)
        offset, line = offset + size, line + 1
