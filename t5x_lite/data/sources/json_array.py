# SPDX-License-Identifier: Apache-2.0
"""JSON files that hold one array of objects, read item by item, so that the array need not fit into memory."""

import pathlib
import re
from collections.abc import Iterator
from typing import BinaryIO

from t5x_lite.data.sources.base import Record
from t5x_lite.data.sources.file_content import json_object
from t5x_lite.data.sources.text_files import MAX_BYTES, JsonLines, RawRecord, TextFile, first_content

# A string with its quotes, a lone quote that begins a longer string than was read so far, or a bracket or comma.
TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|"|[\[\]{},]', re.DOTALL)
CHUNK_BYTES = 2**20


class JsonArray(TextFile):
    """A JSON array of objects; errors number its items from 1."""

    kind = "items"

    def _split(self, file: BinaryIO, line: int) -> Iterator[RawRecord]:
        return split_array(file, line, self.name)

    def _parse(self, text: str, where: str) -> Record:
        return json_object(text, where)

    def _where(self, line: int) -> str:
        return f"{self.name} item {line}"


def open_json(path: pathlib.Path, name: str, cache: pathlib.Path) -> TextFile:
    """Opens a .json file, an array of objects or one object per line; see `TextFile` for the arguments."""
    first = first_content(path)
    if first.startswith(b"["):
        return JsonArray(path, name, cache)
    if first and not first.endswith(b"}"):
        raise ValueError(
            f"{name} is neither an array of objects nor one object per line: make it [{{...}}, {{...}}], or put each "
            "object on a line of its own"
        )
    return JsonLines(path, name, cache)


def split_array(file: BinaryIO, number: int, name: str) -> Iterator[RawRecord]:
    """Yields the items of an array, with their numbers in place of lines; raises ValueError if it is not complete.

    An item's offset is that of the bracket or comma before it, where the file's position may be: `number` is the number
    of the item that follows.
    """
    start = file.tell()  # the offset of `buffer`
    buffer, position, begin, depth = b"", 0, 0, 0
    is_first = True  # whether the current item follows the bracket
    while True:
        token = TOKEN.search(buffer, position)
        if token is None or token[0] == b'"':
            position = len(buffer) if token is None else token.start()
            if position - begin > MAX_BYTES:
                raise ValueError(f"{name} item {number} has more than {MAX_BYTES:,} bytes: split it")
            more = file.read(max(CHUNK_BYTES, len(buffer) - begin))  # doubles, to search long strings few times
            if not more:
                raise ValueError(f"{name} ends within its JSON array, in item {number}: fetch or write it again")
            buffer, start, position, begin = buffer[begin:] + more, start + begin, position - begin, 0
            continue
        position = token.end()
        if depth == 0:  # the bracket, or the comma from which reading continues
            begin, depth, is_first = token.start(), 1, token[0] == b"["
            continue
        depth += {b"[": 1, b"{": 1, b"]": -1, b"}": -1}.get(token[0], 0)
        if depth == 0 or (depth == 1 and token[0] == b","):
            content = buffer[begin + 1 : token.start()].strip()
            if content or depth or not is_first:
                yield RawRecord(start + begin, number, content)
            number, begin, is_first = number + 1, token.start(), False
        if depth == 0:
            _check_end(token[0], buffer[position:], file, name)
            return


def _check_end(closing: bytes, rest: bytes, file: BinaryIO, name: str) -> None:
    while closing == b"]" and not rest.strip():
        rest = file.read(CHUNK_BYTES)
        if not rest:
            return
    raise ValueError(f"{name} is not one JSON array (its brackets do not match, or more text follows it): fix the file")
