# SPDX-License-Identifier: Apache-2.0
"""Reads lines one by one: those of a text file, where empty ones count too, and those of a pipe."""

import io
from collections.abc import Iterator
from typing import Any, BinaryIO

from t5x_lite.data.sources.base import Record
from t5x_lite.data.sources.file_content import decoded, json_object
from t5x_lite.data.sources.text_files import BYTE_ORDER_MARK, RawRecord, TextLines, every_line


class Lines(TextLines):
    """A text file, every line of which is the field `inputs` of a record."""

    kind = "all_lines"

    def _split(self, file: BinaryIO, line: int) -> Iterator[RawRecord]:
        return every_line(file, line)

    def _parse(self, text: str, where: str) -> Record:
        return {"inputs": text}


class LinesWithFields(Lines):
    """A text file whose lines are JSON objects, or else text, with the fields of text files in `task.source`."""

    def _split(self, file: BinaryIO, line: int) -> Iterator[RawRecord]:
        return (raw for raw in every_line(file, line) if raw.content.strip())

    def _parse(self, text: str, where: str) -> Record:
        return line_record(text, where, otherwise=TextLines._parse(self, text, where))


def line_record(text: str, where: str, *, otherwise: Record) -> Record:
    """Returns the JSON object of a line that begins with a brace, else `otherwise`; raises BadRecord if invalid."""
    return json_object(text, where) if text.lstrip().startswith("{") else otherwise


def piped_lines(stream: Any) -> Iterator[tuple[str, str]]:
    """Yields each line of a text stream, such as `sys.stdin`, and its location, as soon as it arrives.

    The bytes are decoded like those of files, whatever the locale; raises BadRecord if they are not UTF-8.
    """
    file = getattr(stream, "buffer", None) or io.BytesIO(stream.read().encode())
    for _, number, content in every_line(file, 1):
        where = f"line {number} of standard input"
        yield decoded(content.removeprefix(BYTE_ORDER_MARK if number == 1 else b""), where), where
