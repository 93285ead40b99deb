# SPDX-License-Identifier: Apache-2.0
"""Reading the files of T5X checkpoints, as flat mappings from a T5X path to an array.

Three layouts are read: a single MessagePack file, perhaps gzipped; a directory with a MessagePack index `checkpoint`
and zarr arrays, T5X's own; a directory that Orbax wrote, with such an index or with `_METADATA`.

An index may say where an array is. It is believed only if that is the directory that the array's name gives.

Source: `t5x/checkpoints.py` for what an index holds, and the checkpoints in `t5x/testdata`.
"""

import dataclasses
import gzip
import json
import mmap
import pathlib
import re
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from t5x_lite.checkpoints.arrays import LazyArray
from t5x_lite.checkpoints.t5x.msgpack import MemoryArray, parse
from t5x_lite.checkpoints.t5x.zarr import ArrayStore, Database, Folders, check_inside, open_zarr

INDEX, ORBAX_TREE, DATABASE = "checkpoint", "_METADATA", "manifest.ocdbt"
OPTIMIZER = ("optimizer", "_optimizer")  # below which T5X and T5X with Orbax keep the train state
ITEMS = ("", "state", "train_state", "default")  # where below a step Orbax may keep it
VERSIONS = (2, 3)
PLACEHOLDER = "PLACEHOLDER://"
STEP_NAME = re.compile(r"(?:checkpoint_)?([0-9]{1,18})")

MOST_TREE_BYTES = 2**26
LEAST_GUNZIPPED, MOST_TIMES_GUNZIPPED = 2**26, 64  # weights hardly compress, and slots that are zero are few
PIECE = 2**20

# How what is often taken for a checkpoint begins.
NOT_CHECKPOINTS = {
    b"model_checkpoint_path": "the index of a TensorFlow checkpoint: convert it with T5X",
    b"PK\x03\x04": "a zip file, such as NumPy's .npz or torch's: name a checkpoint of T5X",
    b"\x80\x02": "a pickle, which could run any program and is never opened: name a checkpoint of T5X",
    b"\x80\x03": "a pickle, which could run any program and is never opened: name a checkpoint of T5X",
    b"\x80\x04": "a pickle, which could run any program and is never opened: name a checkpoint of T5X",
    b"\x80\x05": "a pickle, which could run any program and is never opened: name a checkpoint of T5X",
    b"\x89HDF": "an HDF5 file: name a checkpoint of T5X",
}


@dataclasses.dataclass(frozen=True)
class T5XCheckpoint:
    """A train state on disk.

    Args:
      step: how many updates made it; None if it does not say.
      arrays: by path, such as `target/decoder/layers_0/mlp/wi_0/kernel` for a parameter,
        `state/param_states/decoder/layers_0/mlp/wi_0/kernel/v_row` for a slot of its optimizer, and `state/step`.
    """

    step: int | None
    arrays: Mapping[str, LazyArray]


def read_t5x(path: str | pathlib.Path) -> T5XCheckpoint:
    """Finds what a checkpoint of T5X holds; its arrays are read when asked for.

    Args:
      path: a single file; the directory of a checkpoint; or one that holds `checkpoint_STEP`, of which the newest is
        taken.

    Raises:
      ValueError: if it is no checkpoint of T5X, or not a whole one, or seeks to have something else read.
      OSError: if it may not be read.
    """
    root = _find(pathlib.Path(path))
    if root.is_file():
        return _checkpoint(_entries(_parse_file(root), root), None, root)
    if (root / ORBAX_TREE).is_file():
        entries = _orbax_entries(root)
    else:
        check_inside(root / INDEX, root)
        entries = _entries(_parse_file(root / INDEX), root)
    return _checkpoint(entries, Database(root) if (root / DATABASE).is_file() else Folders(root), root)


def looks_like_t5x(path: pathlib.Path) -> bool:
    """Returns whether this is a file, or a directory with an index in it or in a subdirectory named for a step."""
    if not path.is_dir():
        return path.is_file()
    return _with_index(path) is not None or any(STEP_NAME.fullmatch(child.name) for child in path.iterdir())


@dataclasses.dataclass(frozen=True)
class _Entry:
    """A leaf of an index."""

    names: tuple[str, ...]  # from the top of the file
    value: Any

    @property
    def path(self) -> str:
        return "/".join(self.names[self.names[0] in OPTIMIZER :])

    @property
    def store_names(self) -> tuple[str, ...]:
        """What the directory of the array may be called: T5X leaves the optimizer out, Orbax does not."""
        return ".".join(self.names[self.names[0] in OPTIMIZER :]), ".".join(self.names)


def _find(path: pathlib.Path) -> pathlib.Path:
    """Returns the single file, or the directory with an index, that a user means."""
    if path.is_file():
        return path.parent if path.name == INDEX else path
    if not path.is_dir():
        raise ValueError(f"{path} does not exist: name a checkpoint of T5X, a file or a directory")
    root = _with_index(path)
    if root is not None:
        return root
    children = [(int(match[1]), child) for child in path.iterdir() if (match := STEP_NAME.fullmatch(child.name))]
    for _, child in sorted(children, reverse=True):
        if child.is_file():
            return child
        root = _with_index(child)
        if root is not None:
            return root
    raise ValueError(
        f"{path} holds no checkpoint of T5X, nor a checkpoint_STEP that does: name the directory that has the file "
        f"`{INDEX}` or `{ORBAX_TREE}`"
    )


def _with_index(path: pathlib.Path) -> pathlib.Path | None:
    roots = (path / item for item in ITEMS)
    return next((root for root in roots if (root / INDEX).is_file() or (root / ORBAX_TREE).is_file()), None)


def _parse_file(path: pathlib.Path) -> dict[str, Any]:
    with path.open("rb") as file:
        start = file.read(32)
        for magic, what in NOT_CHECKPOINTS.items():
            if start.startswith(magic):
                raise ValueError(f"{path} is {what}")
        if not start:
            raise ValueError(f"{path} is empty: fetch it again")
        if not start.startswith(b"\x1f\x8b"):
            return parse(memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)), str(path))
    with tempfile.TemporaryFile() as plain:
        _gunzip(path, plain)
        return parse(memoryview(mmap.mmap(plain.fileno(), 0, access=mmap.ACCESS_READ)), str(path))


def _gunzip(path: pathlib.Path, plain: Any) -> None:
    limit = max(LEAST_GUNZIPPED, MOST_TIMES_GUNZIPPED * path.stat().st_size)
    try:
        with gzip.open(path) as compressed:
            while piece := compressed.read(PIECE):
                plain.write(piece)
                if plain.tell() > limit:
                    raise ValueError(
                        f"{path} becomes more than {MOST_TIMES_GUNZIPPED} times as large without its compression, "
                        "which weights do not: if you trust it, gunzip it and name the file that comes out"
                    )
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path} is not a whole gzip file ({error}): fetch it again") from error
    plain.flush()
    if not plain.tell():
        raise ValueError(f"{path} is empty: fetch it again")


def _entries(index: dict[str, Any], where: pathlib.Path) -> Iterator[_Entry]:
    """Gives the leaves of a MessagePack index."""
    version = index.pop("version", VERSIONS[-1])
    if version not in VERSIONS:
        raise ValueError(f"{where} has version {version!r}, not {VERSIONS}: save the checkpoint again with a newer T5X")
    stack: list[tuple[tuple[str, ...], Any]] = [((), index)]
    while stack:
        names, value = stack.pop()
        if isinstance(value, dict) and not {"driver", "kvstore"} <= value.keys():
            stack += [((*names, name), child) for name, child in value.items()]
        elif value is not None:
            yield _Entry(names, value)


def _orbax_entries(root: pathlib.Path) -> Iterator[_Entry]:
    """Gives what the `_METADATA` of a newer Orbax lists."""
    path = root / ORBAX_TREE
    check_inside(path, root)
    with path.open("rb") as file:
        content = file.read(MOST_TREE_BYTES + 1)
    try:
        if len(content) > MOST_TREE_BYTES:
            raise ValueError("it is too large")
        tree = json.loads(content)["tree_metadata"]
        leaves = [
            (tuple(str(part["key"]) for part in leaf["key_metadata"]), leaf["value_metadata"]["value_type"])
            for leaf in tree.values()
        ]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path} does not list arrays as Orbax does ({error!r:.200}): copy it again") from error
    for names, kind in leaves:
        if kind in ("jax.Array", "np.ndarray", "scalar"):
            yield _Entry(names, PLACEHOLDER + ".".join(names))
        elif kind == "string":
            yield _Entry(names, "text")


def _checkpoint(entries: Iterator[_Entry], store: ArrayStore | None, where: pathlib.Path) -> T5XCheckpoint:
    arrays: dict[str, LazyArray] = {}
    for entry in entries:
        for name in entry.names or ("",):
            if not name.isprintable() or name in ("", ".", "..") or "/" in name or "\\" in name:
                raise ValueError(f"{where} has an entry named {name[:80]!r}, as no array is: fetch it again")
        if entry.path in arrays:
            raise ValueError(f"{where} has two entries {entry.path}: fetch it again")
        arrays[entry.path] = _array(entry, store, f"{where} entry {entry.path}")
    if not any(path.split("/")[0] in ("target", "state") for path in arrays):
        raise ValueError(f"{where} holds no `target` or `state`, of which a train state of T5X consists: name another")
    return T5XCheckpoint(_step(arrays, where), dict(sorted(arrays.items())))


def _array(entry: _Entry, store: ArrayStore | None, where: str) -> LazyArray:
    value = entry.value
    if isinstance(value, MemoryArray):
        return value
    if isinstance(value, bool | int | float):
        array = np.asarray(value)
        return MemoryArray((), array.dtype, (memoryview(array.tobytes()),), where)
    declared = _declared(value) if isinstance(value, dict) else None
    stated = _location(value)
    if stated is None:
        raise ValueError(f"{where} is no array but {str(value)[:80]!r}: fetch it again")
    if store is None:
        raise ValueError(f"{where} is kept beside the file: name the directory that holds both")
    if stated not in entry.store_names:
        raise ValueError(
            f"{where} claims to be in {stated[:200]!r}: only the directory {entry.store_names[0]} beside the index is "
            "read; fetch the checkpoint again, and not from there"
        )
    return open_zarr(store, stated, declared, where)


def _location(value: Any) -> str | None:
    """Returns where an index says that an array is, or None if it says no such thing."""
    if isinstance(value, str) and value.startswith(PLACEHOLDER):
        return value.removeprefix(PLACEHOLDER)
    if isinstance(value, dict) and value["driver"] == "zarr" and isinstance(value["kvstore"], dict):
        path = value["kvstore"].get("path", value.get("path"))  # tensorstore before 0.1.14 had it outside
        return path.removesuffix("/") if isinstance(path, str) else None
    return None


def _declared(spec: dict[str, Any]) -> dict[str, Any] | None:
    metadata = spec.get("metadata")
    return {"dtype": spec.get("dtype")} | metadata if isinstance(metadata, dict) else None


def _step(arrays: Mapping[str, LazyArray], where: pathlib.Path) -> int | None:
    array = arrays.get("state/step")
    if array is None:
        return None
    if array.shape not in ((), (1,)) or array.dtype.kind not in "iu" or (step := int(array.read().item())) < 0:
        raise ValueError(f"{where} entry state/step is no number of updates: fetch the checkpoint again")
    return step
