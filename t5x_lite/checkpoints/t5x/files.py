# SPDX-License-Identifier: Apache-2.0
"""T5X checkpoints, opened as flat mappings from T5X paths to lazy arrays.

A checkpoint is a single MessagePack file, possibly gzipped; T5X's directory of zarr arrays with a MessagePack index
`checkpoint`; or Orbax's directory, with such an index or with `_METADATA`. Files are not trusted: an array must be in
the directory that its name implies.

Source: `t5x/checkpoints.py` for the index, and the checkpoints in `t5x/testdata`.
"""

import gzip
import json
import mmap
import pathlib
import re
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from t5x_lite.checkpoints.arrays import LazyArray
from t5x_lite.checkpoints.t5x.msgpack import MemoryArray, parse
from t5x_lite.checkpoints.t5x.zarr import Database, Folders, check_inside, open_zarr
from t5x_lite.files.git_lfs import check_downloaded

INDEX, ORBAX_TREE, DATABASE = "checkpoint", "_METADATA", "manifest.ocdbt"
OPTIMIZER = ("optimizer", "_optimizer")  # parent of the train state in T5X, and in T5X with Orbax
ITEMS = ("", "state", "train_state", "default")  # possible subdirectories in Orbax
VERSIONS = (2, 3)
PLACEHOLDER = "PLACEHOLDER://"
STEP_NAME = re.compile(r"(?:checkpoint_)?([0-9]{1,18})")

MAX_TREE_BYTES = 2**26
# Decompressed size limits, absolute and, for large files, relative: weights hardly compress, and few slots are zero.
MAX_GUNZIPPED, MAX_GROWTH = 2**26, 64
PIECE = 2**20

# Prefixes of files that are often mistaken for checkpoints.
NOT_CHECKPOINTS = {
    b"model_checkpoint_path": "the index of a TensorFlow checkpoint: convert it with T5X",
    b"PK\x03\x04": "a zip file, such as NumPy's .npz or torch's: name a T5X checkpoint",
    b"\x89HDF": "an HDF5 file: name a T5X checkpoint",
} | {
    bytes([0x80, protocol]): "a pickle, which can run arbitrary code and is never loaded: name a T5X checkpoint"
    for protocol in (2, 3, 4, 5)
}


Entry = tuple[tuple[str, ...], Any]  # a leaf of an index: the path of keys and the value


class T5XCheckpoint(NamedTuple):
    """A train state on disk.

    Args:
      step: the number of updates made; None if unknown.
      arrays: the arrays by path, such as `target/decoder/layers_0/mlp/wi_0/kernel` for a parameter,
        `state/param_states/decoder/layers_0/mlp/wi_0/kernel/v_row` for an optimizer slot of it, and `state/step`.
    """

    step: int | None
    arrays: Mapping[str, LazyArray]


def read_t5x(path: str | pathlib.Path) -> T5XCheckpoint:
    """Opens a T5X checkpoint, whose arrays are read on demand.

    Args:
      path: a checkpoint's file or directory, or a directory of `checkpoint_STEP`, of which the newest is opened.

    Raises:
      ValueError: if it is not a complete T5X checkpoint, or refers to anything outside itself.
      OSError: if it cannot be read.
    """
    root = _root(pathlib.Path(path))
    if root.is_file():
        return _checkpoint(_entries(_parse_file(root), root), None, root)
    if (root / ORBAX_TREE).is_file():
        entries = _orbax_entries(root)
    else:
        check_inside(root / INDEX, root)
        entries = _entries(_parse_file(root / INDEX), root)
    return _checkpoint(entries, Database(root) if (root / DATABASE).is_file() else Folders(root), root)


def looks_like_t5x(path: pathlib.Path) -> bool:
    """Returns whether a path is a file, or a directory with an index or with children named after steps."""
    if not path.is_dir():
        return path.is_file()
    return _with_index(path) is not None or any(STEP_NAME.fullmatch(child.name) for child in path.iterdir())


def _root(path: pathlib.Path) -> pathlib.Path:
    """Returns the single file, or the directory with an index, that a path refers to."""
    if path.is_file():
        return path.parent if path.name == INDEX else path
    if not path.is_dir():
        raise ValueError(f"{path} does not exist: name a T5X checkpoint, a file or a directory")
    if root := _with_index(path):
        return root
    children = [(int(match[1]), child) for child in path.iterdir() if (match := STEP_NAME.fullmatch(child.name))]
    for _, child in sorted(children, reverse=True):
        if root := child if child.is_file() else _with_index(child):
            return root
    raise ValueError(
        f"{path} holds no T5X checkpoint, nor does a checkpoint_STEP in it: name the directory with the file `{INDEX}` "
        f"or `{ORBAX_TREE}`"
    )


def _with_index(path: pathlib.Path) -> pathlib.Path | None:
    roots = (path / item for item in ITEMS)
    return next((root for root in roots if (root / INDEX).is_file() or (root / ORBAX_TREE).is_file()), None)


def _parse_file(path: pathlib.Path) -> dict[str, Any]:
    check_downloaded(path)
    with path.open("rb") as file:
        start = file.read(32)
        for magic, what in NOT_CHECKPOINTS.items():
            if start.startswith(magic):
                raise ValueError(f"{path} is {what}")
        if not start:
            raise ValueError(f"{path} is empty: download it again")
        if not start.startswith(b"\x1f\x8b"):
            return parse(memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)), str(path))
    with tempfile.TemporaryFile() as plain:
        _gunzip(path, plain)
        return parse(memoryview(mmap.mmap(plain.fileno(), 0, access=mmap.ACCESS_READ)), str(path))


def _gunzip(path: pathlib.Path, plain: Any) -> None:
    limit = max(MAX_GUNZIPPED, MAX_GROWTH * path.stat().st_size)
    try:
        with gzip.open(path) as compressed:
            while piece := compressed.read(PIECE):
                plain.write(piece)
                if plain.tell() > limit:
                    raise ValueError(
                        f"{path} grows more than {MAX_GROWTH}-fold when decompressed, which weights do not: if you "
                        "trust it, gunzip it and name the resulting file"
                    )
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path} is not a complete gzip file ({error}): download it again") from error
    plain.flush()
    if not plain.tell():
        raise ValueError(f"{path} is empty: download it again")


def _entries(index: dict[str, Any], where: pathlib.Path) -> Iterator[Entry]:
    """Yields the leaves of a MessagePack index."""
    version = index.pop("version", VERSIONS[-1])
    if version not in VERSIONS:
        raise ValueError(f"{where} has version {version!r}, not {VERSIONS}: save the checkpoint again with a newer T5X")
    stack: list[tuple[tuple[str, ...], Any]] = [((), index)]
    while stack:
        names, value = stack.pop()
        if isinstance(value, dict) and not {"driver", "kvstore"} <= value.keys():
            stack += [((*names, name), child) for name, child in value.items()]
        elif value is not None:
            yield names, value


def _orbax_entries(root: pathlib.Path) -> Iterator[Entry]:
    """Yields the leaves listed in `_METADATA`, the index of newer versions of Orbax."""
    path = root / ORBAX_TREE
    check_inside(path, root)
    with path.open("rb") as file:
        content = file.read(MAX_TREE_BYTES + 1)
    try:
        if len(content) > MAX_TREE_BYTES:
            raise ValueError("it is too large")
        tree = json.loads(content)["tree_metadata"]
        leaves = [
            (tuple(str(part["key"]) for part in leaf["key_metadata"]), leaf["value_metadata"]["value_type"])
            for leaf in tree.values()
        ]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path} is not an Orbax index ({error!r:.200}): copy it again") from error
    for names, kind in leaves:
        if kind in ("jax.Array", "np.ndarray", "scalar"):
            yield names, PLACEHOLDER + ".".join(names)
        elif kind == "string":
            yield names, "text"


def _checkpoint(entries: Iterator[Entry], store: Folders | Database | None, where: pathlib.Path) -> T5XCheckpoint:
    arrays: dict[str, LazyArray] = {}
    for names, value in entries:
        for name in names or ("",):
            if not name.isprintable() or name in ("", ".", "..") or "/" in name or "\\" in name:
                raise ValueError(f"{where} has an entry with the invalid name {name[:80]!r}: download it again")
        path = "/".join(names[names[0] in OPTIMIZER :])
        if path in arrays:
            raise ValueError(f"{where} has two entries {path}: download it again")
        # The array's directory is named without the optimizer in T5X, with it in Orbax.
        directories = path.replace("/", "."), ".".join(names)
        arrays[path] = _array(value, directories, store, f"{where} entry {path}")
    if not any(path.split("/")[0] in ("target", "state") for path in arrays):
        raise ValueError(f"{where} has no `target` or `state`, unlike a T5X checkpoint: name another path")
    return T5XCheckpoint(_step(arrays, where), dict(sorted(arrays.items())))


def _array(value: Any, directories: tuple[str, str], store: Folders | Database | None, where: str) -> LazyArray:
    if isinstance(value, MemoryArray):
        return value
    if isinstance(value, bool | int | float):
        return MemoryArray.of(np.asarray(value), where)
    stated = _location(value)
    if stated is None:
        raise ValueError(f"{where} is not an array but {str(value)[:80]!r}: download it again")
    if store is None:
        raise ValueError(f"{where} is stored beside the file: name the directory that holds both")
    if stated not in directories:
        raise ValueError(
            f"{where} claims to be in {stated[:200]!r}: only the directory {directories[0]} beside the index is "
            "read; download the checkpoint again, from another source"
        )
    metadata = value.get("metadata") if isinstance(value, dict) else None
    declared = {"dtype": value.get("dtype")} | metadata if isinstance(metadata, dict) else None
    return open_zarr(store, stated, declared, where)


def _location(value: Any) -> str | None:
    """Returns an array's location as stated in an index entry; None if the entry is not an array."""
    if isinstance(value, str) and value.startswith(PLACEHOLDER):
        return value.removeprefix(PLACEHOLDER)
    if isinstance(value, dict) and value["driver"] == "zarr" and isinstance(value["kvstore"], dict):
        path = value["kvstore"].get("path", value.get("path"))  # beside it before tensorstore 0.1.14
        return path.removesuffix("/") if isinstance(path, str) else None
    return None


def _step(arrays: Mapping[str, LazyArray], where: pathlib.Path) -> int | None:
    array = arrays.get("state/step")
    if array is None:
        return None
    if array.shape not in ((), (1,)) or array.dtype.kind not in "iu" or (step := int(array.read().item())) < 0:
        raise ValueError(f"{where} entry state/step is not a number of updates: download the checkpoint again")
    return step
