# SPDX-License-Identifier: Apache-2.0
"""Lazily read checkpoint arrays, and validation of the dtypes, shapes and indices of untrusted files."""

import math
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import ml_dtypes
import numpy as np

Index = tuple[slice, ...]  # one slice per dimension, without steps

# uint16 is missing on purpose: T5X before June 2021 stored bfloat16 under that name.
_NAMES = ("float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint32", "uint64", "bool")
DTYPES = {name: np.dtype(name) for name in _NAMES} | {"bfloat16": np.dtype(ml_dtypes.bfloat16)}

PART_SIZE = 2**24  # elements in memory at once
MAX_DIMS = 16
MAX_BYTES = 2**50  # per array: larger than any disk, yet small enough for products not to overflow
DAMAGED = "it is damaged; download it again"


class LazyArray(Protocol):
    """An array of a checkpoint, read on demand."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype: ...

    def read(self, index: Index | None = None) -> np.ndarray:
        """Returns a copy of a slice or of the whole array; raises ValueError if the index or the data is invalid."""
        ...


def checked_dtype(name: Any, where: str) -> np.dtype:
    """Returns the dtype called `name`; raises ValueError, prefixed with `where`, if it is not supported."""
    if name == "uint16":
        raise ValueError(
            f"{where} has dtype uint16, which T5X before June 2021 used for bfloat16: save the checkpoint again with a "
            "newer T5X"
        )
    if not isinstance(name, str) or name not in DTYPES:
        raise ValueError(f"{where} has dtype {name!r:.80}: convert it to one of {', '.join(DTYPES)}")
    return DTYPES[name]


def checked_shape(shape: Any, dtype: np.dtype, where: str) -> tuple[int, ...]:
    """Returns the shape as a tuple; raises ValueError, prefixed with `where`, if it is implausible."""
    plausible = (
        isinstance(shape, Sequence)
        and not isinstance(shape, str | bytes)
        and len(shape) <= MAX_DIMS
        and all(type(size) is int and 0 <= size <= MAX_BYTES for size in shape)
        and num_bytes(shape, dtype) <= MAX_BYTES
    )
    if not plausible:
        raise ValueError(f"{where} claims the impossible shape {shape!r:.80}: the file is damaged; download it again")
    return tuple(shape)


def checked_index(index: Index | None, shape: tuple[int, ...], where: str) -> Index:
    """Returns an index with starts and stops filled in; raises ValueError if it does not fit the shape."""
    if index is None:
        return whole(shape)
    filled = [
        slice(part.start or 0, size if part.stop is None else part.stop)
        for part, size in zip(index, shape, strict=False)
    ]
    fits = len(index) == len(shape) and all(
        part.step in (None, 1) and 0 <= bounds.start <= bounds.stop <= size
        for part, bounds, size in zip(index, filled, shape, strict=True)
    )
    if not fits:
        raise ValueError(f"{where} has shape {shape}, which {index} does not fit: give a slice for each dimension")
    return tuple(filled)


def whole(shape: Sequence[int]) -> Index:
    """Returns the index of a whole array."""
    return tuple(slice(0, size) for size in shape)


def num_bytes(shape: Sequence[int], dtype: np.dtype) -> int:
    """Returns the size of an array in bytes."""
    return math.prod(shape) * dtype.itemsize


def num_elements(arrays: Mapping[str, LazyArray]) -> int:
    """Returns the number of elements of all arrays."""
    return sum(math.prod(array.shape) for array in arrays.values())


def mapped(path: pathlib.Path, begin: int, size: int, name: str) -> np.ndarray:
    """Returns the bytes of the tensor `name` in a file; reading them later reads only the pages that they are in."""
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size < begin + size:  # reading it would crash the process
            raise ValueError(f"{path} ends within the tensor {name}: {DAMAGED}")
        return np.memmap(file, np.uint8, "r", begin, (size,))


def parts_of(shape: tuple[int, ...], max_size: int) -> Iterator[slice]:
    """Yields slices of an array's first dimension, each of at most `max_size` elements or a single row."""
    step = max(1, max_size // max(math.prod(shape[1:]), 1))
    for begin in range(0, shape[0], step):
        yield slice(begin, min(begin + step, shape[0]))


def equal(one: LazyArray, other: LazyArray) -> bool:
    """Returns whether two arrays, which need not be of the same dtype, hold the same numbers."""
    if one == other:  # the same bytes, as tied tensors are in torch's files
        return True
    if one.shape != other.shape or not one.shape:
        return one.shape == other.shape and np.array_equal(one.read(), other.read())
    parts = ((part, *whole(one.shape[1:])) for part in parts_of(one.shape, PART_SIZE))
    return all(np.array_equal(one.read(part), other.read(part)) for part in parts)
