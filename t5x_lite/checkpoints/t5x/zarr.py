# SPDX-License-Identifier: Apache-2.0
"""Zarr arrays (version 2) of T5X and Orbax, read in slices through tensorstore.

Files are not trusted: only validated metadata and locations inside the checkpoint reach tensorstore.
"""

import contextlib
import dataclasses
import functools
import json
import math
import pathlib
import stat
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorstore as ts

from t5x_lite.checkpoints.arrays import DTYPES, Index, checked_dtype, checked_index, checked_shape, num_bytes
from t5x_lite.files.messages import first_line

METADATA = ".zarray"
MAX_METADATA_BYTES = 2**16

# The maximum compression ratio of each format, rounded up, to reject false claims. Blosc is missing: neither T5X nor
# Orbax uses it, and tensorstore lets its chunks expand to any size.
EXPANSION = {None: 1, "zlib": 1_100, "gzip": 1_100, "zstd": 2**16}
# Zarr's names of dtypes, such as "<f4".
ZARR_DTYPES = {dtype.str: name for name, dtype in DTYPES.items() if name != "bfloat16"}
ZARR_DTYPES |= {"<u2": "uint16", "bfloat16": "bfloat16"}


class Folders(NamedTuple):
    """The arrays of a checkpoint with a directory per array; nothing outside `root` is read."""

    root: pathlib.Path

    def chunks(self, name: str) -> tuple[frozenset[str], int]:
        """Returns the names of an array's chunks and metadata, and an upper bound on their total size."""
        sizes: dict[str, int] = {}
        for path in self._folder(name).iterdir():
            status = path.stat() if path.exists() else None
            if status and stat.S_ISREG(status.st_mode):  # a pipe would block
                check_inside(path, self.root)
                sizes[path.name] = status.st_size
        return frozenset(sizes), sum(sizes.values())

    def metadata(self, name: str) -> bytes:
        """Returns the `.zarray` of an array; it must be among its `chunks`."""
        with (self._folder(name) / METADATA).open("rb") as file:
            return file.read(MAX_METADATA_BYTES + 1)

    def kvstore(self, name: str) -> dict[str, Any]:
        """Returns the spec of an array's tensorstore key-value store."""
        return {"driver": "file", "path": f"{self._folder(name)}/"}

    def _folder(self, name: str) -> pathlib.Path:
        path = self.root / name
        if path.parent != self.root or len(name.encode()) > 255 or not path.is_dir():
            raise ValueError(
                f"{self.root} has no directory {name[:300]}, which its index names: copy the complete checkpoint again"
            )
        check_inside(path, self.root)
        return path.resolve()


@dataclasses.dataclass(frozen=True)
class Database:
    """The arrays of a checkpoint in OCDBT, the database of newer versions of Orbax; `root` holds its manifest."""

    root: pathlib.Path

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
            if not path.is_dir() and not path.is_file():  # a pipe would block
                raise ValueError(f"{path} is not a file: copy the complete checkpoint again")
            total += path.stat().st_size
        return total

    @functools.cached_property
    def _names(self) -> dict[str, set[str]]:
        """The names of each array's chunks and metadata."""
        names: dict[str, set[str]] = {}
        if self._num_bytes:  # also validates links, before anything is read
            with tensorstore_errors(str(self.root)):
                keys = self._opened.list().result()
            for key in keys:
                name, _, chunk = key.decode("utf-8", "replace").rpartition("/")
                names.setdefault(name, set()).add(chunk)
        return names


@dataclasses.dataclass(frozen=True)
class ZarrArray:
    """A `LazyArray` that reads only the chunks of the requested slice."""

    shape: tuple[int, ...]
    dtype: np.dtype
    spec: Mapping[str, Any]  # for tensorstore, validated
    where: str

    def read(self, index: Index | None = None) -> np.ndarray:
        part = checked_index(index, self.shape, self.where)
        with tensorstore_errors(self.where):
            return np.asarray(ts.open(dict(self.spec)).result()[part].read(order="C").result())


def open_zarr(store: Folders | Database, name: str, declared: Mapping[str, Any] | None, where: str) -> ZarrArray:
    """Opens an array of a store and validates its metadata, without reading it.

    Args:
      declared: its metadata in the checkpoint's index, if any. It replaces a missing `.zarray`, because copying often
        loses hidden files.

    Raises:
      ValueError: if metadata or a chunk is missing, or the metadata is implausible; the message starts with `where`.
    """
    names, stored_bytes = store.chunks(name)
    fields = _json(store.metadata(name)) if METADATA in names else declared
    if fields is None and METADATA not in names:
        remedy = "write it with use_zarr3=False" if "zarr.json" in names else "copy it again with its hidden files"
        raise ValueError(f"{where} has no {METADATA}, the file with its shape: {remedy}")
    metadata, dtype = _validated(fields, where)
    shape = metadata["shape"]
    if declared is not None and declared.get("shape") != shape:
        raise ValueError(
            f"{where} has shape {shape} in its {METADATA} but another in the index: copy the complete checkpoint again"
        )
    missing = next((chunk for chunk in _chunk_names(shape, metadata["chunks"]) if chunk not in names), None)
    if missing is not None:
        raise ValueError(f"{where} lacks the chunk {name}/{missing}: copy the complete checkpoint again")
    if (claimed := num_bytes(shape, dtype)) > stored_bytes * EXPANSION[(metadata["compressor"] or {}).get("id")]:
        raise ValueError(
            f"{where} claims {claimed:,} bytes, more than its {stored_bytes:,} stored bytes can expand to: copy the "
            "checkpoint again"
        )
    if isinstance(store, Folders) and stored_bytes > 2 * claimed + MAX_METADATA_BYTES:  # tensorstore reads whole files
        raise ValueError(
            f"{where} has {stored_bytes:,} stored bytes, but needs only {claimed:,}: copy the complete checkpoint again"
        )
    spec = {"driver": "zarr", "kvstore": store.kvstore(name), "metadata": metadata}
    # `open` as an argument of ts.open instead would make tensorstore read the `.zarray` again.
    spec |= {"open": True, "assume_metadata": True}
    return ZarrArray(tuple(shape), dtype, spec, where)


def _validated(fields: Any, where: str) -> tuple[dict[str, Any], np.dtype]:
    """Returns the `.zarray` fields that tensorstore needs, validated, and the dtype."""
    if not isinstance(fields, Mapping):
        raise ValueError(f"{where} has a {METADATA} that is not a JSON object: copy the checkpoint again")
    name = fields.get("dtype")
    dtype = checked_dtype(ZARR_DTYPES.get(name, name) if isinstance(name, str) else name, where)
    shape = checked_shape(fields.get("shape"), dtype, where)
    chunks = checked_shape(fields.get("chunks"), dtype, where)
    # Neither T5X nor Orbax writes chunks larger than the array, and tensorstore would allocate them in full.
    if len(chunks) != len(shape) or not all(
        0 < chunk <= max(size, 1) for chunk, size in zip(chunks, shape, strict=True)
    ):
        raise ValueError(
            f"{where} claims the impossible chunks {list(chunks)} of shape {list(shape)}: copy the checkpoint again"
        )
    supported = {"zarr_format": (2,), "filters": (None,), "dimension_separator": (".",), "order": ("C", "F")}
    for key, values in supported.items():
        if fields.get(key, values[0]) not in values:
            raise ValueError(
                f"{where} has {key} {str(fields[key])[:80]!r}, but only {values} is supported: convert the array"
            )
    compressor = fields.get("compressor")
    if compressor is not None:
        kind = compressor.get("id") if isinstance(compressor, Mapping) else None
        if not isinstance(kind, str) or kind not in EXPANSION:
            kinds = ", ".join(filter(None, EXPANSION))
            raise ValueError(
                f"{where} is compressed by {str(compressor)[:80]}: only {kinds} are supported; convert the array"
            )
        compressor = {"id": kind}  # readers do not need the compression level
    return {
        "zarr_format": 2,
        "shape": list(shape),
        "chunks": list(chunks),
        "dtype": next(zarr for zarr, name in ZARR_DTYPES.items() if name == dtype.name),
        "compressor": compressor,
        "order": fields.get("order", "C"),
        "filters": None,
        "fill_value": None,
        "dimension_separator": ".",
    }, dtype


def _chunk_names(shape: Sequence[int], chunks: Sequence[int]) -> Iterator[str]:
    counts = [-(-size // chunk) for size, chunk in zip(shape, chunks, strict=True)]
    for i in range(math.prod(counts)):  # lazily: metadata may claim very many
        yield ".".join(map(str, np.unravel_index(i, counts))) or "0"


def check_inside(path: pathlib.Path, root: pathlib.Path) -> None:
    """Raises ValueError if a path, such as a symbolic link, leads out of the directory `root`."""
    try:
        inside = path.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError):  # circular links
        inside = False
    if not inside:
        raise ValueError(
            f"{path} is a link that leads out of {root}: if you trust it, copy the checkpoint with `cp -RL`"
        )


@contextlib.contextmanager
def tensorstore_errors(where: str) -> Iterator[None]:
    """Turns any tensorstore error into a ValueError that starts with `where`."""
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:
        raise ValueError(
            f"{where} cannot be read ({first_line(error)}): if it is damaged, copy the complete checkpoint again"
        ) from error


def _json(content: bytes) -> Any:
    try:
        return json.loads(content) if len(content) <= MAX_METADATA_BYTES else None
    except (ValueError, RecursionError):
        return None
