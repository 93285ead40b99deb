# SPDX-License-Identifier: Apache-2.0
"""Reads lines one by one: those of a text file, where empty ones count too, and those of a pipe."""

import io
import itertools
import pathlib
from collections.abc import Iterator
from typing import Any, BinaryIO

from t5x_lite.data.sources.base import Located, Record
from t5x_lite.data.sources.file_content import decoded, json_object
from t5x_lite.data.sources.text_files import (
    BYTE_ORDER_MARK,
    JsonLines,
    OpenText,
    RawRecord,
    TextFile,
    TextLines,
    every_line,
    first_content,
)


class Line(dict[str, Any]):
    """A record made from a line of plain text, rather than read as such."""


class Lines(TextLines):
    """A text file, every line of which is a record with the line in `field`, beside the fields of other text files."""

    kind = "all_lines"

    def __init__(self, path: pathlib.Path, name: str | None = None, cache: pathlib.Path | None = None, *, field: str):
        self._field = field
        super().__init__(path, name, cache)

    def _split(self, file: BinaryIO, line: int) -> Iterator[RawRecord]:
        return every_line(file, line)

    def _parse(self, text: str, where: str) -> Record:
        return Line({self._field: text} | super()._parse(text, where))


def lines_opener(field: str, *, may_be_json: bool) -> OpenText:
    """Returns a function that opens a text file as `Lines`, or as JSON lines if it may be and begins with an object."""

    def open_text(path: pathlib.Path, name: str, cache: pathlib.Path) -> TextFile:
        if may_be_json and _begins_object(first_content(path)):
            return JsonLines(path, name, cache)
        return Lines(path, name, cache, field=field)

    return open_text


def piped_lines(stream: Any) -> Iterator[tuple[str, str]]:
    """Yields each line of a text stream, such as `sys.stdin`, and its location, as soon as it arrives.

    The bytes are decoded like those of files, whatever the locale; raises BadRecord if they are not UTF-8.
    """
    file = getattr(stream, "buffer", None) or io.BytesIO(stream.read().encode())
    for _, number, content in every_line(file, 1):
        where = f"line {number} of standard input"
        yield decoded(content.removeprefix(BYTE_ORDER_MARK if number == 1 else b""), where), where


def piped_records(stream: Any, field: str, *, may_be_json: bool) -> Iterator[Located]:
    """Yields the records of a text stream, the same as `lines_opener` reads from a file."""
    lines, first = piped_lines(stream), []
    if may_be_json:
        for line in lines:
            first.append(line)
            if line[0].strip():
                break
    is_json = bool(first) and _begins_object(first[-1][0].encode())
    for text, where in itertools.chain(first, lines):
        if not is_json:
            yield Located(where, Line({field: text}))
        elif text.strip():
            yield Located(where, json_object(text, where))


def _begins_object(content: bytes) -> bool:
    return content.lstrip().startswith(b"{")
