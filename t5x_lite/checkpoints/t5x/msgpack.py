# SPDX-License-Identifier: Apache-2.0
"""Parses the MessagePack files that Flax writes, without reading their arrays.

`msgpack.Unpacker` reads even skipped arrays into memory, so maps and arrays are walked here by their offsets; it parses
only the other values, which are small.

Source: `flax.serialization`: extension types 1 (array) and 3 (NumPy scalar) hold a shape, a dtype name and bytes;
arrays beyond 1 GiB are split into chunks.
"""

from typing import Any, NamedTuple, NoReturn, Self

import msgpack
import numpy as np

from t5x_lite.checkpoints.arrays import Index, checked_dtype, checked_index, checked_shape, num_bytes
from t5x_lite.files.messages import first_line

MAX_VALUES = 2_000_000  # per file: the largest models have a few thousand, and each takes memory
MAX_DEPTH = 64
MAX_LIST = 1_024  # lists only hold shapes and the like
WINDOW = 2**17  # bytes passed to the Unpacker: the maximum size of a value other than a map or array

ARRAY, SCALAR = 1, 3  # Flax's extension types
CHUNKED = "__msgpack_chunked_array__"

# First bytes of maps; and first bytes of extensions and bytes -> size of their length field, 0 if there is none.
MAPS = {*range(0x80, 0x90), 0xDE, 0xDF}
EXTENSIONS = {0xC7: 1, 0xC8: 2, 0xC9: 4} | dict.fromkeys(range(0xD4, 0xD9), 0)
BYTES = {0xC4: 1, 0xC5: 2, 0xC6: 4}


class MemoryArray(NamedTuple):
    """A `LazyArray` over bytes in memory, or in a memory-mapped file."""

    shape: tuple[int, ...]
    dtype: np.dtype
    parts: tuple[memoryview, ...]  # consecutive, in C order
    where: str

    @classmethod
    def of(cls, array: np.ndarray, where: str) -> Self:
        return cls(array.shape, array.dtype, (memoryview(array.tobytes()),), where)

    def read(self, index: Index | None = None) -> np.ndarray:
        part = checked_index(index, self.shape, self.where)
        content = self.parts[0] if len(self.parts) == 1 else b"".join(self.parts)
        return np.array(np.ndarray(self.shape, self.dtype, buffer=content)[part])


def parse(content: memoryview, where: str) -> dict[str, Any]:
    """Parses a file written by Flax, which may be memory-mapped.

    Returns:
      Nested dictionaries whose leaves are `MemoryArray`, numbers, text, None, bytes or lists.

    Raises:
      ValueError: if it is not exactly one dictionary of such values; the message starts with `where`.
    """
    parser = _Parser(content, where)
    value = parser.value()
    if parser.position < len(content):
        parser.refuse(f"{len(content) - parser.position} bytes follow its end")
    if not isinstance(value, dict):
        parser.refuse("it is not a dictionary")
    return value


class _Parser:
    def __init__(self, content: memoryview, where: str):
        self.content, self.where = content, where
        self.position = 0
        self.path: list[str] = []
        self.num_values = 0

    def refuse(self, reason: str) -> NoReturn:
        raise ValueError(
            f"{self.entry()} is not a complete file written by Flax ({reason}): download it again, or name another file"
        )

    def entry(self) -> str:
        return f"{self.where} entry {'/'.join(self.path)}" if self.path else self.where

    def value(self, depth: int = 0) -> Any:
        self.num_values += 1
        if depth > MAX_DEPTH:
            self.refuse(f"values are nested deeper than {MAX_DEPTH}")
        if self.num_values > MAX_VALUES:
            self.refuse(f"it has more than {MAX_VALUES:,} values")
        first = self.content[self.position] if self.position < len(self.content) else None
        if first in MAPS:
            return self._map(depth)
        if first in EXTENSIONS:
            return self._array()
        value = self._unpack()
        if isinstance(value, list) and any(isinstance(item, list) for item in value):
            self.refuse("a list holds lists")
        return value

    def _unpack(self, method: str = "unpack") -> Any:
        """Calls a method of an Unpacker that starts at the current position."""
        unpacker = msgpack.Unpacker(max_array_len=MAX_LIST, max_map_len=0, max_ext_len=0)
        try:
            unpacker.feed(self.content[self.position : self.position + WINDOW])
            value = getattr(unpacker, method)()
        except (ValueError, msgpack.UnpackException) as error:
            self.refuse(f"at byte {self.position:,}: {first_line(error)}")
        self.position += unpacker.tell()
        return value

    def _take(self, size: int) -> memoryview:
        start, self.position = self.position, self.position + size
        if self.position > len(self.content):
            self.refuse(f"it ends {self.position - len(self.content):,} bytes too early")
        return self.content[start : self.position]

    def _size(self, lengths: dict[int, int]) -> int:
        """Reads a header and returns the number of bytes that follow it."""
        first = self._take(1)[0]
        if first not in lengths:
            self.refuse("an array is not a shape, a dtype and bytes")
        return int.from_bytes(self._take(lengths[first]), "big") if lengths[first] else 1 << (first - 0xD4)

    def _map(self, depth: int) -> Any:
        values: dict[str, Any] = {}
        for _ in range(self._unpack("read_map_header")):
            name = self._unpack()
            if not isinstance(name, str):
                self.refuse(f"the name that ends at byte {self.position:,} is not text")
            if name in values:
                self.refuse(f"the name {name[:80]!r} occurs twice")
            self.path.append(name)
            values[name] = self.value(depth + 1)
            self.path.pop()
        return self._joined(values) if CHUNKED in values else values

    def _array(self) -> MemoryArray:
        size, code = self._size(EXTENSIONS), self._take(1)[0]
        end = self.position + size
        if code not in (ARRAY, SCALAR):
            self.refuse(f"a value has the extension type {code}, not {ARRAY} or {SCALAR}")
        if self._unpack("read_array_header") != 3:
            self.refuse("an array is not a shape, a dtype and bytes")
        shape, name = self._unpack(), self._unpack()
        dtype = checked_dtype(name, self.entry())
        shape = checked_shape(shape, dtype, self.entry())
        content = self._take(self._size(BYTES))
        if self.position != end or len(content) != num_bytes(shape, dtype):
            self.refuse(f"an array of shape {list(shape)} and {dtype} has {len(content):,} bytes")
        return MemoryArray(shape, dtype, (content,), self.entry())

    def _joined(self, values: dict[str, Any]) -> MemoryArray:
        sizes, chunks = self._numbered(values.get("shape")), self._numbered(values.get("chunks"))
        if not chunks or not all(isinstance(chunk, MemoryArray) and chunk.dtype == chunks[0].dtype for chunk in chunks):
            self.refuse("a chunked array has no chunks, or chunks that do not belong together")
        dtype = chunks[0].dtype
        shape = checked_shape(sizes, dtype, self.entry())
        parts = tuple(part for chunk in chunks for part in chunk.parts)
        if sum(map(len, parts)) != num_bytes(shape, dtype):
            self.refuse(f"the chunks of an array do not add up to shape {list(shape)} of {dtype}")
        return MemoryArray(shape, dtype, parts, self.entry())

    def _numbered(self, values: Any) -> list[Any]:
        """Returns the values of a dictionary with the keys "0", "1", ..., which is how Flax stores a list."""
        names = [str(i) for i in range(len(values))] if isinstance(values, dict) else None
        if names is None or sorted(names) != sorted(values):
            self.refuse("a chunked array lacks its shape or its chunks")
        return [values[name] for name in names]
