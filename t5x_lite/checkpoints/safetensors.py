# SPDX-License-Identifier: Apache-2.0
"""Safetensors files, read in slices and written one array at a time.

The safetensors library can write only what fits in memory. Names, dtypes, shapes and offsets are validated before any
data is read. A file holds the length of the header (8 bytes, little endian), the header (JSON: the dtype, shape and
offsets of each array) and the arrays; offsets count from the end of the header.

Source: the safetensors README.
"""

import json
import os
import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from t5x_lite.checkpoints.arrays import DAMAGED, DTYPES, Index, checked_index, mapped, num_bytes
from t5x_lite.checkpoints.weights import IGNORE, Progress
from t5x_lite.files.atomic_write import write_atomically, written_atomically
from t5x_lite.files.full_disk import check_space
from t5x_lite.files.json_object import parse_json

WEIGHTS_FILE, INDEX_FILE = "model.safetensors", "model.safetensors.index.json"
SHARD_BYTES = 2 * 10**9  # per file; only a single larger array exceeds it
MAX_HEADER_BYTES = 2**23  # 80 times that of T5 XXL; the format allows 100 MB, which take a minute to read
METADATA = "__metadata__"
CODES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
NAMES = {DTYPES[name]: code for code, name in CODES.items()}
TRUNCATED = "it is truncated, or not a safetensors file"

Shapes = Mapping[str, tuple[int, ...]]
Parts = Callable[[str], Iterator[np.ndarray]]  # given a name, yields consecutive parts of the array in C order


class Tensor(NamedTuple):
    """A `LazyArray` in a file."""

    path: pathlib.Path
    name: str
    dtype: np.dtype
    shape: tuple[int, ...]
    begin: int  # offset in the file

    @property
    def num_bytes(self) -> int:
        return num_bytes(self.shape, self.dtype)

    def read(self, index: Index | None = None) -> np.ndarray:
        part = checked_index(index, self.shape, f"{self.path} tensor {self.name}")
        if not self.num_bytes:
            return np.empty([size.stop - size.start for size in part], self.dtype)
        content = mapped(self.path, self.begin, self.num_bytes, self.name)
        return np.array(content.view(self.dtype).reshape(self.shape)[part])


def read_header(path: pathlib.Path) -> dict[str, Tensor]:
    """Returns the arrays of a file by name; raises ValueError unless it is a complete file of floating-point arrays."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > size - 8:
            raise ValueError(f"{path} has {size:,} bytes but claims a header of {length:,}: {TRUNCATED}")
        if length > MAX_HEADER_BYTES:
            raise ValueError(f"{path} has a header of {length:,} bytes, more than any model's: {DAMAGED}")
        content = file.read(length)
    try:
        header = parse_json(content, path)
    except ValueError as error:
        raise ValueError(f"{path} has a header that is not JSON: {TRUNCATED}") from error
    if not isinstance(header, dict):
        raise ValueError(f"{path} has a header that is not a JSON object: {TRUNCATED}")
    header.pop(METADATA, None)
    end = 8 + length
    tensors = {name: _tensor(path, name, entry, end) for name, entry in header.items()}
    for tensor in sorted(tensors.values(), key=lambda tensor: (tensor.begin, tensor.num_bytes)):
        if tensor.begin != end:
            raise ValueError(f"{path} has a gap or an overlap before the tensor {tensor.name!r:.100}: {DAMAGED}")
        end += tensor.num_bytes
    if end != size:
        raise ValueError(f"{path} has {size:,} bytes but its header says {end!s:.40}: {TRUNCATED}")
    return tensors


def _tensor(path: pathlib.Path, name: str, entry: Any, offset: int) -> Tensor:
    try:
        shape, (begin, end), code = tuple(entry["shape"]), entry["data_offsets"], entry["dtype"]
        valid = all(type(value) is int and value >= 0 for value in (*shape, begin, end))
    except (TypeError, KeyError, ValueError):
        valid, shape, begin, end, code = False, (), 0, 0, None
    if not valid:
        raise ValueError(f"{path} has an invalid entry for the tensor {name!r:.100}, {entry!r:.200}: {DAMAGED}")
    if not isinstance(code, str) or code not in CODES:
        raise ValueError(
            f"{path} has the tensor {name!r:.100} of type {code!r:.80}: use weights of type {', '.join(CODES)}"
        )
    dtype = DTYPES[CODES[code]]
    if num_bytes(shape, dtype) != end - begin:
        raise ValueError(
            f"{path} has {end - begin!s:.40} bytes for the tensor {name!r:.100} of shape {list(shape)!s:.80}: {DAMAGED}"
        )
    return Tensor(path, name, dtype, shape, offset + begin)


def write_weights(
    directory: pathlib.Path, shapes: Shapes, read: Parts, dtype: np.dtype, *, progress: Progress = IGNORE
) -> None:
    """Writes arrays, in the order of `shapes`, into one file, or into several with an index."""
    sizes = {name: num_bytes(shape, dtype) for name, shape in shapes.items()}
    check_space(directory, sum(sizes.values()), "the model")
    shards: list[list[str]] = [[]]
    for name in shapes:
        if shards[-1] and sum(sizes[other] for other in shards[-1]) + sizes[name] > SHARD_BYTES:
            shards.append([])
        shards[-1].append(name)
    files = {f"model-{i:05d}-of-{len(shards):05d}.safetensors": names for i, names in enumerate(shards, 1)}
    if len(files) == 1:
        files = {WEIGHTS_FILE: shards[0]}
    for file_name, names in files.items():
        write_tensors(directory / file_name, {name: shapes[name] for name in names}, read, dtype, progress=progress)
    if len(files) > 1:
        places = {name: file_name for file_name, names in files.items() for name in names}
        index = {"metadata": {"total_size": sum(sizes.values())}, "weight_map": places}
        write_atomically(directory / INDEX_FILE, json.dumps(index, indent=2) + "\n")


def write_tensors(
    path: pathlib.Path, shapes: Shapes, read: Parts, dtype: np.dtype, *, progress: Progress = IGNORE
) -> None:
    """Writes one file, which appears only once it is complete; see `write_weights`."""
    header: dict[str, Any] = {METADATA: {"format": "pt"}}  # without it, transformers refuses the file
    end = 0
    for name, shape in shapes.items():
        begin, end = end, end + num_bytes(shape, dtype)
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
        assert file.tell() == 8 + len(content) + end, f"{path} got arrays that do not have the given shapes"
