# SPDX-License-Identifier: Apache-2.0
"""Text, JSON-lines, CSV and TSV files.

The first pass over a file counts its records and indexes the byte offset of every 64th, for random access. Files are
not memory-mapped, because truncating a mapped file would kill the process.
"""

import array
import contextlib
import csv
import io
import itertools
import pathlib
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import BinaryIO, NamedTuple

import numpy as np

from t5x_lite.data.sources.base import BadRecord, Located, Record
from t5x_lite.data.sources.file_content import check_unchanged, decoded, file_key, json_object, state_of
from t5x_lite.files.atomic_write import written_atomically
from t5x_lite.files.messages import listed

MAX_BYTES = 2**30  # per record, of which Python would hold several copies
# Per CSV value, and bytes per CSV line: an unclosed quote would swallow the rest of the file, and Python's reader needs
# up to eight bytes per character.
MAX_CHARACTERS = 2**26
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
RECORDS_PER_OFFSET = 64
MIN_INDEXED_BYTES = 2**24  # smaller files are indexed by each process, in 0.1 s


class RawRecord(NamedTuple):
    """The bytes of a record and where they start."""

    offset: int  # in bytes
    line: int  # 1-based
    content: bytes


class TextFile:
    """Base class of files with one record per line, unless `_split` is overridden; subclasses parse the records.

    Args:
      path: the uncompressed file.
      name: the name of the file in errors, if `path` is a decompressed copy.
      cache: the directory in which processes share the index of a large file; None keeps it in memory.
    """

    kind = "lines"  # part of the name of the cached index
    num_header_records = 0

    def __init__(self, path: pathlib.Path, name: str | None = None, cache: pathlib.Path | None = None):
        self.path, self.name = path, name or str(path)
        self._state = state_of(path)
        index = self._cached_index(cache / f"{file_key(path)}.{self.kind}.offsets.npy") if cache else self._index()
        self._length, self._starts = int(index[0, 0]), index[1:]

    def __len__(self) -> int:
        return max(self._length - self.num_header_records, 0)

    def read(self, numbers: Iterable[int]) -> Iterator[Located]:
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
                    f"{self.name} line {raw.line} begins a record of more than {MAX_BYTES:,} bytes: split it, or, in a "
                    "text file, set task.text_unit to paragraph or line"
                )
            return Located(where, self._parse(decoded(raw.content, where), where))
        except BadRecord as error:
            return Located(where, error)

    def _where(self, line: int) -> str:
        return f"{self.name} line {line}"

    def _split(self, file: BinaryIO, line: int) -> Iterator[RawRecord]:
        """Yields the records of an open file from its position, the start of `line`."""
        return split_lines(file, line)

    def _parse(self, text: str, where: str) -> Record:
        raise NotImplementedError

    def _raw_records(self) -> Generator[RawRecord, None, None]:
        with self.path.open("rb") as file:
            starts_after_mark(file)
            yield from self._split(file, 1)

    def _index(self) -> np.ndarray:
        """Returns int64 rows: (the number of records, 0), then (offset, line) of every 64th record."""
        starts, count = array.array("q"), 0
        for count, raw in enumerate(self._raw_records(), 1):
            if count % RECORDS_PER_OFFSET == 1:
                starts.extend((raw.offset, raw.line))
        return np.array([count, 0, *starts], np.int64).reshape(-1, 2)

    def _cached_index(self, path: pathlib.Path) -> np.ndarray:
        num_bytes, _ = self._state
        if num_bytes < MIN_INDEXED_BYTES:
            return self._index()
        with contextlib.suppress(OSError, ValueError, EOFError):  # missing or damaged
            index = np.load(path)
            if index.dtype == np.int64 and index.shape[1:] == (2,):
                return index
        index = self._index()
        with contextlib.suppress(OSError), written_atomically(path) as temporary, temporary.open("wb") as file:
            np.save(file, index)
        return index


OpenText = Callable[[pathlib.Path, str, pathlib.Path], TextFile]  # from a file, its name in errors and the cache


class TextLines(TextFile):
    """A text file with one document per line; empty lines are skipped."""

    def _parse(self, text: str, where: str) -> Record:
        """Returns the text and the names of its file and folder, which may serve as labels."""
        if "\0" in text:
            raise BadRecord(
                f"{where} contains NUL bytes, so it is no UTF-8 text: if it is UTF-16, convert the file with iconv -f "
                "utf-16le -t utf-8"
            )
        path = pathlib.PurePath(self.name)
        return {"text": text, "file": path.name, "folder": path.parent.name}


class TextParagraphs(TextLines):
    """A text file with documents separated by blank lines."""

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
    """A file with one JSON object per line; blank lines are skipped."""

    kind = "objects"

    def _split(self, file: BinaryIO, line: int) -> Iterator[RawRecord]:
        return (raw for raw in every_line(file, line) if raw.content.strip())

    def _parse(self, text: str, where: str) -> Record:
        return json_object(text, where)


class Delimited(TextFile):
    """A CSV or TSV file; all values are text, `nan` and `null` too, and quoted CSV values may contain line breaks.

    Args:
      delimiter: the separator of values. Only commas imply quoting, because T5's TSV files have none.
      columns: the column names; None reads them from the first line.

    Raises:
      ValueError: if column names are duplicated, or quotes or line breaks are invalid.
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
                f"{self.name} has duplicate column names ({listed(self.columns)}): give each a different name, "
                "there or in task.columns in place of the first line"
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


def starts_after_mark(file: BinaryIO) -> None:
    """Moves to the start of a file, after its byte order mark if it has one."""
    file.seek(0)
    if file.read(len(BYTE_ORDER_MARK)) != BYTE_ORDER_MARK:
        file.seek(0)


def first_content(path: pathlib.Path) -> bytes:
    """Returns the first line of a file that is not blank, stripped; empty if there is none."""
    with path.open("rb") as file:
        starts_after_mark(file)
        return next((line for raw in every_line(file, 1) if (line := raw.content.strip())), b"")


def split_lines(file: BinaryIO, line: int) -> Iterator[RawRecord]:
    """Yields the non-empty lines, without their line endings."""
    return (raw for raw in every_line(file, line) if raw.content)


def every_line(file: BinaryIO, line: int) -> Iterator[RawRecord]:
    r"""Yields all lines, without their line endings: \n or \r\n, but not \r alone, which progress bars write."""
    for raw in _whole_lines(file, line, MAX_BYTES):
        yield raw._replace(content=raw.content.removesuffix(b"\n").removesuffix(b"\r"))


def split_paragraphs(file: BinaryIO, line: int) -> Iterator[RawRecord]:
    """Yields runs of non-blank lines, without the last line ending."""
    lines, num_bytes = [], 0
    blank = RawRecord(0, 0, b"\n")  # ends the last paragraph
    for raw in itertools.chain(_whole_lines(file, line, MAX_BYTES), [blank]):
        if not raw.content.isspace():
            if num_bytes <= MAX_BYTES:  # the rest of an oversized paragraph is dropped
                lines.append(raw)
            num_bytes += len(raw.content)
        elif lines:
            paragraph = _joined(lines)
            yield paragraph._replace(content=paragraph.content.rstrip(b"\r\n"))
            lines, num_bytes = [], 0


def _joined(lines: Sequence[RawRecord]) -> RawRecord:
    return lines[0]._replace(content=b"".join(raw.content for raw in lines))


def split_csv_rows(file: BinaryIO, line: int, name: str) -> Iterator[RawRecord]:
    """Yields the non-empty rows of a CSV file from its current line; raises ValueError if quotes are invalid."""
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
        since = f", in a row that begins on line {first}" if first < last else ""
        raise ValueError(f"{name} line {last} is not valid CSV ({error}{since}): fix the file") from error


def _whole_lines(file: BinaryIO, line: int, max_bytes: int) -> Iterator[RawRecord]:
    """Yields the lines with their line endings, truncating oversized ones to `max_bytes` + 1 bytes."""
    offset = file.tell() if file.seekable() else 0
    while content := file.readline(max_bytes + 1):
        size, rest = len(content), content
        while len(rest) > max_bytes and not rest.endswith(b"\n"):
            rest = file.readline(max_bytes + 1)
            size += len(rest)
        yield RawRecord(offset, line, content)
        offset, line = offset + size, line + 1
