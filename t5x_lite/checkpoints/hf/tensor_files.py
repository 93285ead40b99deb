# SPDX-License-Identifier: Apache-2.0
"""Files of the safetensors format, read in parts and written an array at a time.

The library that defined the format holds a file, or what becomes one, in memory as a whole; a model of 45 GB shall go
through a machine of 8. What a file says is not believed: every name, type, shape and place is checked before a number
is read, and nothing is taken from outside the file.

A file is the length of its header (8 bytes, little endian), the header (JSON: for each name the type, the shape, and
where the numbers begin and end after the header), and the numbers. Source: the safetensors README.
"""

import json
import math
import os
import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from t5x_lite.checkpoints.arrays import DTYPES, Index, checked_index, num_bytes
from t5x_lite.files.atomic_write import written_atomically

LONGEST_HEADER = 100_000_000  # bytes, the format's own limit
METADATA = "__metadata__"
CODES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
NAMES = {DTYPES[name]: code for code, name in CODES.items()}
DAMAGED = "it is damaged; get it again"


class Tensor(NamedTuple):
    """A `LazyArray` in a file."""

    path: pathlib.Path
    name: str
    dtype: np.dtype
    shape: tuple[int, ...]
    begin: int  # byte of the file

    @property
    def num_bytes(self) -> int:
        return num_bytes(self.shape, self.dtype)

    def read(self, index: Index | None = None) -> np.ndarray:
        part = checked_index(index, self.shape, f"{self.path} tensor {self.name}")
        if not self.num_bytes:
            return np.empty([size.stop - size.start for size in part], self.dtype)
        with self.path.open("rb") as file:
            if os.fstat(file.fileno()).st_size < self.begin + self.num_bytes:
                raise _wrong(self.path, f"ends within the tensor {self.name}", DAMAGED)
            # Of a file that is mapped into memory, only the pages that hold the part are read, however it is cut.
            mapped = np.memmap(file, self.dtype, "r", self.begin, self.shape)
            return np.array(mapped[part])


def read_header(path: pathlib.Path) -> dict[str, Tensor]:
    """Returns the tensors of a file by name.

    Raises:
      ValueError: if it is not a whole file of the format with floating-point numbers.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(size - 8, LONGEST_HEADER):
            reason = f"has {size:,} bytes and asks for a header of {length:,}"
            raise _wrong(path, reason, "it is cut off, or not a safetensors file")
        content = file.read(length)
    try:
        header = json.loads(content)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise _wrong(path, "has a header that is not JSON", "it is damaged, or not a safetensors file") from error
    if not isinstance(header, dict):
        raise _wrong(path, "has a header that is not an object", "it is damaged, or not a safetensors file")
    header.pop(METADATA, None)
    tensors = {name: _tensor(path, name, entry, 8 + length) for name, entry in header.items()}
    end = 8 + length
    for tensor in sorted(tensors.values(), key=lambda tensor: (tensor.begin, tensor.num_bytes)):
        if tensor.begin != end:
            raise _wrong(path, f"has a gap or an overlap before the tensor {tensor.name}", DAMAGED)
        end += tensor.num_bytes
    if end != size:
        raise _wrong(path, f"has {size:,} bytes where its header says {end:,}", "it is cut off; get it again")
    return tensors


def _tensor(path: pathlib.Path, name: str, entry: Any, offset: int) -> Tensor:
    try:
        shape, (begin, end) = entry["shape"], entry["data_offsets"]
        dtype_name = entry["dtype"]
        sound = all(type(value) is int and value >= 0 for value in (*shape, begin, end))
    except (TypeError, KeyError, ValueError):
        sound, shape, begin, end, dtype_name = False, (), 0, 0, None
    if not sound:
        raise _wrong(path, f"describes the tensor {name!r} wrongly: {str(entry)[:200]}", DAMAGED)
    if not isinstance(dtype_name, str) or dtype_name not in CODES:
        known = ", ".join(CODES)
        raise _wrong(path, f"has the tensor {name!r} of type {dtype_name!r}", f"use weights of type {known}")
    dtype = DTYPES[CODES[dtype_name]]
    if math.prod(shape) * dtype.itemsize != end - begin:
        reason = f"gives {end - begin:,} bytes to the tensor {name!r} of shape {shape}"
        raise _wrong(path, reason, DAMAGED)
    return Tensor(path, name, dtype, tuple(shape), offset + begin)


def write_tensors(
    path: pathlib.Path,
    shapes: Mapping[str, tuple[int, ...]],
    read: Callable[[str], Iterator[np.ndarray]],
    dtype: np.dtype,
    *,
    progress: Callable[[int], object] = lambda num_bytes: None,
) -> None:
    """Writes a file, which appears when it is whole.

    Args:
      path: of the file.
      shapes: of the tensors, by name, in the order in which they are written.
      read: yields the numbers of a tensor in parts, which follow one another in C order.
      dtype: of the numbers in the file.
      progress: is told how many bytes have been written since it was last told.

    Raises:
      OSError: if it cannot be written.
    """
    header: dict[str, Any] = {METADATA: {"format": "pt"}}  # without it, transformers refuses the file
    end = 0
    for name, shape in shapes.items():
        begin, end = end, end + math.prod(shape) * dtype.itemsize
        header[name] = {"dtype": NAMES[dtype], "shape": list(shape), "data_offsets": [begin, end]}
    content = json.dumps(header, separators=(",", ":")).encode()
    content += b" " * (-len(content) % 8)
    with written_atomically(path) as temporary, temporary.open("wb") as file:
        file.write(len(content).to_bytes(8, "little") + content)
        for name in shapes:
            for part in read(name):
                file.write(np.asarray(part, dtype).tobytes())
                progress(part.size * dtype.itemsize)
        file.flush()
        os.fsync(file.fileno())
        if file.tell() != 8 + len(content) + end:
            raise AssertionError(f"{path} got other numbers than it was promised")


def _wrong(path: pathlib.Path, reason: str, remedy: str) -> ValueError:
    return ValueError(f"{path} {reason}: {remedy}")
