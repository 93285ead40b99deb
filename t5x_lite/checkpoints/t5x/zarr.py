# SPDX-License-Identifier: Apache-2.0
"""Arrays in zarr's format (version 2), as T5X and Orbax write them, read by parts through tensorstore.

A stranger may have written them. Of what they say about themselves, only what is checked here reaches tensorstore,
which is never told a location but ours.
"""

import contextlib
import dataclasses
import functools
import json
import math
import pathlib
import stat
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import numpy as np
import tensorstore as ts

from t5x_lite.checkpoints.arrays import Index, checked_dtype, checked_index, checked_shape, num_bytes
from t5x_lite.files.messages import first_line

METADATA = ".zarray"
MOST_METADATA_BYTES = 2**16

# At most so many bytes come of one: what the formats can do at best, rounded up. More is a claim, not an array.
# Blosc is left out: neither T5X nor Orbax uses it, and tensorstore lets one of its chunks become any size.
EXPANSION = {None: 1, "zlib": 1_100, "gzip": 1_100, "zstd": 2**16}
ZARR_DTYPES = {
    "<f2": "float16", "<f4": "float32", "<f8": "float64", "bfloat16": "bfloat16", "|b1": "bool", "|i1": "int8",
    "<i2": "int16", "<i4": "int32", "<i8": "int64", "|u1": "uint8", "<u2": "uint16", "<u4": "uint32", "<u8": "uint64",
}  # fmt: skip


class ArrayStore(Protocol):
    """Where the arrays of a checkpoint are."""

    def chunks(self, name: str) -> tuple[frozenset[str], int]:
        """Returns the names of what is stored for an array, and an upper bound of how many bytes it is."""
        ...

    def metadata(self, name: str) -> bytes:
        """Returns the `.zarray` of an array, if it is among what `chunks` gives."""
        ...

    def kvstore(self, name: str) -> dict[str, Any]:
        """Returns where tensorstore finds an array."""
        ...


class Folders:
    """An `ArrayStore` that has a folder for each array.

    Args:
      root: the directory that holds the folders; nothing outside it is read.
    """

    def __init__(self, root: pathlib.Path):
        self.root = root

    def chunks(self, name: str) -> tuple[frozenset[str], int]:
        sizes: dict[str, int] = {}
        for path in self._folder(name).iterdir():
            status = path.stat() if path.exists() else None
            if status and stat.S_ISREG(status.st_mode):  # a pipe would be waited for
                check_inside(path, self.root)
                sizes[path.name] = status.st_size
        return frozenset(sizes), sum(sizes.values())

    def metadata(self, name: str) -> bytes:
        with (self._folder(name) / METADATA).open("rb") as file:
            return file.read(MOST_METADATA_BYTES + 1)

    def kvstore(self, name: str) -> dict[str, Any]:
        return {"driver": "file", "path": f"{self._folder(name)}/"}

    def _folder(self, name: str) -> pathlib.Path:
        path = self.root / name
        if path.parent != self.root or len(name.encode()) > 255 or not path.is_dir():
            raise ValueError(
                f"{self.root} has no directory {name[:300]}, which its index names: copy the whole checkpoint again"
            )
        check_inside(path, self.root)
        return path.resolve()


class Database:
    """An `ArrayStore` in OCDBT, the database in which newer versions of Orbax keep all arrays.

    Args:
      root: the directory of its manifest.
    """

    def __init__(self, root: pathlib.Path):
        self.root = root

    def metadata(self, name: str) -> bytes:
        with tensorstore_errors(str(self.root)):
            return self._opened.read(f"{name}/{METADATA}").result().value

    def chunks(self, name: str) -> tuple[frozenset[str], int]:
        return frozenset(self._names.get(name, ())), self._num_bytes

    def kvstore(self, name: str) -> dict[str, Any]:
        return self._spec | {"path": f"{name}/"}

    @property
    def _spec(self) -> dict[str, Any]:
        return {"driver": "ocdbt", "base": {"driver": "file", "path": f"{self.root.resolve()}/"}}

    @functools.cached_property
    def _opened(self) -> ts.KvStore:
        return ts.KvStore.open(self._spec).result()

    @functools.cached_property
    def _num_bytes(self) -> int:
        total = 0
        for path in self.root.rglob("*"):
            check_inside(path, self.root)
            if not path.is_dir() and not path.is_file():  # a pipe would be waited for
                raise ValueError(f"{path} is not a file: copy the whole checkpoint again")
            total += path.stat().st_size
        return total

    @functools.cached_property
    def _names(self) -> dict[str, set[str]]:
        """What there is for each array."""
        names: dict[str, set[str]] = {}
        if self._num_bytes:  # which also looks at the links, before anything is read
            with tensorstore_errors(str(self.root)):
                keys = self._opened.list().result()
            for key in keys:
                name, _, chunk = key.decode("utf-8", "replace").rpartition("/")
                names.setdefault(name, set()).add(chunk)
        return names


@dataclasses.dataclass(frozen=True)
class ZarrArray:
    """A `LazyArray` in zarr's format, of which only the chunks that a part needs are read."""

    shape: tuple[int, ...]
    dtype: np.dtype
    spec: Mapping[str, Any]  # of tensorstore, every word of it checked
    where: str

    def read(self, index: Index | None = None) -> np.ndarray:
        part = checked_index(index, self.shape, self.where)
        with tensorstore_errors(self.where):
            return np.asarray(ts.open(dict(self.spec)).result()[part].read(order="C").result())


def open_zarr(store: ArrayStore, name: str, declared: Mapping[str, Any] | None, where: str) -> ZarrArray:
    """Finds an array and checks what it says about itself.

    Args:
      store: where it is.
      name: of the array in the store.
      declared: what an index of the checkpoint says of it, in the words of `.zarray`, if it does. It stands in for a
        `.zarray` that is missing, because copying loses files whose names begin with a dot.
      where: names the array in errors.

    Returns:
      The array, with every chunk present and none of it read.

    Raises:
      ValueError: if something is missing, or cannot be so.
    """
    names, stored_bytes = store.chunks(name)
    fields = _json(store.metadata(name)) if METADATA in names else declared
    if fields is None and METADATA not in names:
        remedy = "write it with use_zarr3=False" if "zarr.json" in names else "copy it again with its hidden files"
        raise ValueError(f"{where} has no {METADATA}, which says its shape: {remedy}")
    array = _Metadata.read(fields, where)
    if declared is not None and declared.get("shape") != list(array.shape):
        raise ValueError(
            f"{where} has shape {list(array.shape)} by its {METADATA} and another by the index: "
            "copy the whole checkpoint again"
        )
    missing = next((chunk for chunk in array.chunk_names() if chunk not in names), None)
    if missing is not None:
        raise ValueError(f"{where} lacks the chunk {name}/{missing}: copy the whole checkpoint again")
    if num_bytes(array.shape, array.dtype) > stored_bytes * EXPANSION[array.compressor]:
        raise ValueError(
            f"{where} claims {num_bytes(array.shape, array.dtype):,} bytes, more than can come of the {stored_bytes:,} "
            "that are stored: copy the checkpoint again"
        )
    spec = {"driver": "zarr", "kvstore": store.kvstore(name), "metadata": array.as_json()}
    # Without `open` here, and not as an argument, tensorstore would read the `.zarray` again.
    spec |= {"open": True, "assume_metadata": True}
    return ZarrArray(array.shape, array.dtype, spec, where)


@dataclasses.dataclass(frozen=True)
class _Metadata:
    """A `.zarray`, checked."""

    shape: tuple[int, ...]
    dtype: np.dtype
    chunks: tuple[int, ...]
    compressor: str | None
    settings: Mapping[str, Any] | None  # of the compressor
    order: str

    @classmethod
    def read(cls, fields: Any, where: str) -> "_Metadata":
        if not isinstance(fields, Mapping):
            raise ValueError(f"{where} has a {METADATA} that is no JSON object: copy the checkpoint again")
        name = fields.get("dtype")
        dtype = checked_dtype(ZARR_DTYPES.get(name, name) if isinstance(name, str) else name, where)
        shape = checked_shape(fields.get("shape"), dtype, where)
        chunks = checked_shape(fields.get("chunks"), dtype, where)
        # Neither T5X nor Orbax cuts chunks that reach beyond the array, and one would be allocated whole.
        if len(chunks) != len(shape) or not all(
            0 < cut <= max(size, 1) for cut, size in zip(chunks, shape, strict=True)
        ):
            raise ValueError(
                f"{where} claims the impossible chunks {list(chunks)} of shape {list(shape)}: copy the checkpoint again"
            )
        expected = {"zarr_format": (2,), "filters": (None,), "dimension_separator": (".",), "order": ("C", "F")}
        for key, allowed in expected.items():
            if fields.get(key, allowed[0]) not in allowed:
                raise ValueError(
                    f"{where} has {key} {str(fields[key])[:80]!r}, where only {allowed} can be read: convert the array"
                )
        compressor, settings = _compressor(fields.get("compressor"), where)
        return cls(shape, dtype, chunks, compressor, settings, fields.get("order", "C"))

    def chunk_names(self) -> Iterator[str]:
        counts = [-(-size // cut) for size, cut in zip(self.shape, self.chunks, strict=True)]
        for i in range(math.prod(counts)):  # one at a time: a claim may be of very many
            yield ".".join(map(str, np.unravel_index(i, counts))) or "0"

    def as_json(self) -> dict[str, Any]:
        dtype = next(zarr for zarr, name in ZARR_DTYPES.items() if name == self.dtype.name)
        return {
            "zarr_format": 2, "shape": list(self.shape), "chunks": list(self.chunks), "dtype": dtype,
            "compressor": self.settings, "order": self.order, "filters": None, "fill_value": None,
            "dimension_separator": ".",
        }  # fmt: skip


def _compressor(fields: Any, where: str) -> tuple[str | None, dict[str, Any] | None]:
    if fields is None:
        return None, None
    name = fields.get("id") if isinstance(fields, Mapping) else None
    if not isinstance(name, str) or name not in EXPANSION:
        known = ", ".join(filter(None, EXPANSION))
        raise ValueError(f"{where} is compressed by {str(fields)[:80]}: only {known} can be read; convert the array")
    return name, {"id": name}  # how well it was compressed does not matter to who reads it


def check_inside(path: pathlib.Path, root: pathlib.Path) -> None:
    """Raises ValueError if a path leads out of the directory `root`, as a symbolic link may."""
    try:
        inside = path.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError):  # links in a circle
        inside = False
    if not inside:
        raise ValueError(
            f"{path} is a link that leads out of {root}: if you trust it, copy the checkpoint with `cp -RL`"
        )


@contextlib.contextmanager
def tensorstore_errors(where: str) -> Iterator[None]:
    """Makes one ValueError, beginning with `where`, of whatever tensorstore's layers raise."""
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:
        raise ValueError(
            f"{where} cannot be read ({first_line(error)}): if it is damaged, copy the whole checkpoint again"
        ) from error


def _json(content: bytes) -> Any:
    try:
        return json.loads(content) if len(content) <= MOST_METADATA_BYTES else None
    except (ValueError, RecursionError):
        return None
