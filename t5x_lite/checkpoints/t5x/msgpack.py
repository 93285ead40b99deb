# SPDX-License-Identifier: Apache-2.0
"""The MessagePack files that Flax writes, read without copying their arrays.

The msgpack package would copy every array of a file into memory. Here a file is walked over once, and an array is a
view of the bytes where they lie, which may be a file mapped into memory.

Source: the MessagePack specification for the bytes; `flax.serialization` for what its extension types 1 (array) and 3
(scalar) hold, a shape, the name of a dtype and bytes, and for how arrays beyond 1 GiB are cut.
"""

import dataclasses
import struct
from typing import Any, NoReturn

import numpy as np

from t5x_lite.checkpoints.arrays import Index, checked_dtype, checked_index, checked_shape, num_bytes

MOST_VALUES = 2_000_000  # in a file: the largest models have some thousands, and each costs memory
DEEPEST = 64
LONGEST_LIST = 1_024  # lists are shapes and the like

ARRAY, SCALAR = 1, 3  # Flax's extension types
CUT = "__msgpack_chunked_array__"

# First byte -> the number that follows, in struct's terms.
NUMBERS = {
    0xCA: ">f", 0xCB: ">d", 0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q",
    0xD0: ">b", 0xD1: ">h", 0xD2: ">i", 0xD3: ">q",
}  # fmt: skip
CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}
# First byte -> what follows, and the number of its bytes or values.
SIZED = {
    0xC4: ("bytes", ">B"), 0xC5: ("bytes", ">H"), 0xC6: ("bytes", ">I"),
    0xC7: ("extension", ">B"), 0xC8: ("extension", ">H"), 0xC9: ("extension", ">I"),
    0xD9: ("text", ">B"), 0xDA: ("text", ">H"), 0xDB: ("text", ">I"),
    0xDC: ("list", ">H"), 0xDD: ("list", ">I"), 0xDE: ("map", ">H"), 0xDF: ("map", ">I"),
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class MemoryArray:
    """A `LazyArray` over bytes in memory, or in a file that is mapped into it."""

    shape: tuple[int, ...]
    dtype: np.dtype
    parts: tuple[memoryview, ...]  # one after the other, in C order
    where: str

    def read(self, index: Index | None = None) -> np.ndarray:
        part = checked_index(index, self.shape, self.where)
        # Joining copies an array beyond 1 GiB; one in one part is only looked at.
        content = self.parts[0] if len(self.parts) == 1 else b"".join(self.parts)
        return np.array(np.ndarray(self.shape, self.dtype, buffer=content)[part])


def parse(content: memoryview, where: str) -> dict[str, Any]:
    """Returns what a file that Flax wrote holds.

    Args:
      content: the file, to the last byte.
      where: names it in errors.

    Returns:
      Dictionaries of dictionaries whose leaves are `MemoryArray`, numbers, text, None, bytes or lists.

    Raises:
      ValueError: if it is not one whole dictionary of such values.
    """
    reader = _Reader(content, where)
    value = reader.value()
    if reader.position < len(content):
        reader.refuse(f"{len(content) - reader.position} bytes follow its end")
    if not isinstance(value, dict):
        reader.refuse("it holds no dictionary")
    return value


class _Reader:
    """Reads one value after the other."""

    def __init__(self, content: memoryview, where: str):
        self.content, self.where = content, where
        self.position = 0
        self.path: list[str] = []
        self.num_values = 0

    def refuse(self, reason: str) -> NoReturn:
        raise ValueError(
            f"{self.entry()} is not a whole file written by Flax ({reason}): fetch it again, or name another file"
        )

    def entry(self) -> str:
        return f"{self.where} entry {'/'.join(self.path)}" if self.path else self.where

    def value(self, depth: int = 0) -> Any:
        if depth > DEEPEST:
            self.refuse(f"values nest deeper than {DEEPEST}")
        self.num_values += 1
        if self.num_values > MOST_VALUES:
            self.refuse(f"it holds more than {MOST_VALUES:,} values")
        first = self._number(">B")
        if first <= 0x7F:
            return first
        if first >= 0xE0:
            return first - 0x100
        if first in CONSTANTS:
            return CONSTANTS[first]
        if first in NUMBERS:
            return self._number(NUMBERS[first])
        kind, size = self._kind_and_size(first)
        match kind:
            case "text":
                return self._text(size)
            case "map":
                return self._map(size, depth)
            case "list":
                return self._list(size, depth)
            case "bytes":
                return self._take(size)
        return self._extension(size, depth)

    def _kind_and_size(self, first: int) -> tuple[str, int]:
        if first <= 0x8F:
            return "map", first & 0xF
        if first <= 0x9F:
            return "list", first & 0xF
        if first <= 0xBF:
            return "text", first & 0x1F
        if 0xD4 <= first <= 0xD8:
            return "extension", 1 << (first - 0xD4)
        if first not in SIZED:
            self.refuse(f"byte {self.position - 1} begins no value")
        kind, length = SIZED[first]
        return kind, self._number(length)

    def _take(self, size: int) -> memoryview:
        start, self.position = self.position, self.position + size
        if self.position > len(self.content):
            self.refuse(f"it ends {self.position - len(self.content):,} bytes too early")
        return self.content[start : self.position]

    def _number(self, layout: str) -> Any:
        return struct.unpack(layout, self._take(struct.calcsize(layout)))[0]

    def _text(self, size: int) -> str:
        try:
            return str(self._take(size), "utf-8")
        except UnicodeDecodeError:
            self.refuse(f"the text that ends at byte {self.position} is not UTF-8")

    def _list(self, size: int, depth: int) -> list[Any]:
        if size > LONGEST_LIST:
            self.refuse(f"a list has {size:,} values")
        return [self.value(depth + 1) for _ in range(size)]

    def _map(self, size: int, depth: int) -> Any:
        values: dict[str, Any] = {}
        for _ in range(size):
            name = self.value(depth + 1)
            if not isinstance(name, str):
                self.refuse(f"the name that ends at byte {self.position} is no text")
            if name in values:
                self.refuse(f"the name {name[:80]!r} is there twice")
            self.path.append(name)
            values[name] = self.value(depth + 1)
            self.path.pop()
        return self._joined(values) if CUT in values else values

    def _extension(self, size: int, depth: int) -> MemoryArray:
        code = self._number(">b")
        payload = _Reader(self._take(size), self.entry())
        if code not in (ARRAY, SCALAR):
            self.refuse(f"a value has the extension type {code}, not {ARRAY} or {SCALAR}")
        fields = payload.value(depth + 1)
        if payload.position < size or not isinstance(fields, list) or len(fields) != 3:
            self.refuse("an array is not a shape, a dtype and bytes")
        shape, name, content = fields
        dtype = checked_dtype(name, self.entry())
        shape = checked_shape(shape, dtype, self.entry())
        if not isinstance(content, memoryview) or len(content) != num_bytes(shape, dtype):
            self.refuse(f"shape {list(shape)} of {dtype} needs {num_bytes(shape, dtype):,} bytes, and others are there")
        return MemoryArray(shape, dtype, (content,), self.entry())

    def _joined(self, values: dict[str, Any]) -> MemoryArray:
        sizes, chunks = self._numbered(values.get("shape")), self._numbered(values.get("chunks"))
        if not chunks or not all(isinstance(chunk, MemoryArray) and chunk.dtype == chunks[0].dtype for chunk in chunks):
            self.refuse("an array that was cut has no parts, or parts that do not belong together")
        dtype = chunks[0].dtype
        shape = checked_shape(sizes, dtype, self.entry())
        parts = tuple(part for chunk in chunks for part in chunk.parts)
        if sum(map(len, parts)) != num_bytes(shape, dtype):
            self.refuse(f"the parts of an array do not add up to shape {list(shape)} of {dtype}")
        return MemoryArray(shape, dtype, parts, self.entry())

    def _numbered(self, values: Any) -> list[Any]:
        names = [str(i) for i in range(len(values))] if isinstance(values, dict) else None
        if names is None or sorted(names) != sorted(values):
            self.refuse("an array that was cut does not say how")
        return [values[name] for name in names]
