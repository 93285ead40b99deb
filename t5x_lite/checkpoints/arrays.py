# SPDX-License-Identifier: Apache-2.0
"""Arrays that are on disk until they are asked for, and what an array that a stranger wrote may be."""

import math
from collections.abc import Sequence
from typing import Any, Protocol

import ml_dtypes
import numpy as np

Index = tuple[slice, ...]

# uint16 is left out on purpose: T5X before June 2021 wrote bfloat16 under that name.
_NAMES = ("float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint32", "uint64", "bool")
DTYPES = {name: np.dtype(name) for name in _NAMES} | {"bfloat16": np.dtype(ml_dtypes.bfloat16)}

MOST_DIMS = 16
MOST_BYTES = 2**50  # of one array: more than any disk holds, and products stay small


class LazyArray(Protocol):
    """An array of a checkpoint, read when asked for."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype: ...

    def read(self, index: Index | None = None) -> np.ndarray:
        """Returns a copy of the array, or of a part of it.

        Args:
          index: a slice for each dimension, without steps, as JAX gives them for the shards of a sharding; None for
            the whole array.

        Raises:
          ValueError: if the index does not fit the shape, or the stored bytes are damaged.
        """
        ...


def checked_dtype(name: Any, where: str) -> np.dtype:
    """Returns a type of numbers by its name; raises ValueError, beginning with `where`, if arrays may not have it."""
    if name == "uint16":
        raise ValueError(
            f"{where} has dtype uint16, as which T5X before June 2021 stored bfloat16: save the checkpoint again "
            "with a newer T5X"
        )
    if not isinstance(name, str) or name not in DTYPES:
        raise ValueError(f"{where} has dtype {_shown(name)}: only {', '.join(DTYPES)} are read; convert it to one")
    return DTYPES[name]


def checked_shape(shape: Any, dtype: np.dtype, where: str) -> tuple[int, ...]:
    """Returns a shape that an array can have; raises ValueError, beginning with `where`, for any other."""
    plausible = (
        isinstance(shape, Sequence)
        and not isinstance(shape, str | bytes)
        and len(shape) <= MOST_DIMS
        and all(type(size) is int and 0 <= size <= MOST_BYTES for size in shape)
        and num_bytes(shape, dtype) <= MOST_BYTES
    )
    if not plausible:
        raise ValueError(f"{where} claims the impossible shape {_shown(shape)}: the file is damaged; fetch it again")
    return tuple(shape)


def checked_index(index: Index | None, shape: tuple[int, ...], where: str) -> Index:
    """Returns the slices with their starts and stops filled in; raises ValueError if they do not fit the shape."""
    if index is None:
        return tuple(slice(0, size) for size in shape)
    filled = [
        slice(part.start or 0, size if part.stop is None else part.stop)
        for part, size in zip(index, shape, strict=False)
    ]
    fits = len(index) == len(shape) and all(
        part.step in (None, 1) and 0 <= whole.start <= whole.stop <= size
        for part, whole, size in zip(index, filled, shape, strict=True)
    )
    if not fits:
        raise ValueError(f"{where} has shape {shape}, of which {index} is no part: give a slice for each dimension")
    return tuple(filled)


def num_bytes(shape: Sequence[int], dtype: np.dtype) -> int:
    """Returns the size of an array in memory."""
    return math.prod(shape) * dtype.itemsize


def _shown(value: Any, limit: int = 80) -> str:
    text = repr(value)
    return text if len(text) <= limit else text[:limit] + "..."
