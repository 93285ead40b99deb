# SPDX-License-Identifier: Apache-2.0
"""Writing checkpoints as T5X's own `Checkpointer` writes and reads them.

A directory `checkpoint_STEP` with a MessagePack index `checkpoint`, in which an array is a description of the zarr
array beside it, and a scalar is there itself.

Source: `t5x/checkpoints.py`: version 3, gzip, chunks of at most 64 MiB, directories named by dotted paths.
"""

import math
import os
import pathlib
import platform
import shutil
from collections.abc import Callable, Mapping
from typing import Any

import msgpack
import numpy as np
import tensorstore as ts

from t5x_lite.checkpoints.arrays import DTYPES
from t5x_lite.checkpoints.t5x.msgpack import ARRAY
from t5x_lite.files.messages import first_line

VERSION = 3
INDEX = "checkpoint"
CHUNK_BYTES = 64 * 2**20
LARGEST_STEP = 2**31 - 1  # T5X keeps it in an int32
TOP = ("target", "state", "flax_mutables")

Source = Any | Callable[[], Any]


def write_t5x(directory: str | pathlib.Path, arrays: Mapping[str, Source], step: int) -> pathlib.Path:
    """Writes a checkpoint that is whole or not there, holding one array in memory at a time.

    Args:
      directory: in which `checkpoint_STEP` is made; made itself if it is not there.
      arrays: by their paths in T5X, as `read_t5x` gives them; an array, or a function that returns it, such as `read`
        of one on disk. `state/step` is added if it is missing.
      step: how many updates made the arrays.

    Returns:
      The directory of the checkpoint.

    Raises:
      ValueError: if there is such a checkpoint, or T5X could not have one like it.
      OSError: if it cannot be written.
    """
    if type(step) is not int or not 0 <= step <= LARGEST_STEP:
        raise ValueError(f"step {step!r} is no number of updates: give one from 0 to {LARGEST_STEP:,}")
    _check_paths(arrays)
    final = pathlib.Path(directory).absolute() / f"checkpoint_{step}"
    if final.exists():
        raise ValueError(f"{final} is there already: remove it, or write to another directory")
    temporary = final.with_name(f".{final.name}.{platform.node()}.{os.getpid()}.tmp")  # hosts may share the directory
    shutil.rmtree(temporary, ignore_errors=True)  # of a process that was killed and had the same number
    temporary.mkdir(parents=True)
    try:
        index: dict[str, Any] = {"target": {}, "state": {}}
        for path, source in ({"state/step": np.int32(step)} | dict(arrays)).items():
            _insert(index, path, _write_array(temporary, path, source() if callable(source) else source, step))
        (temporary / INDEX).write_bytes(_packed({"version": VERSION, "optimizer": index}))
        os.rename(temporary, final)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return final


def _check_paths(arrays: Mapping[str, Source]) -> None:
    """Raises ValueError for a path that could not be told from another, or not be read again."""
    for path in arrays:
        names = path.split("/")
        if (
            len(names) < 2
            or names[0] not in TOP
            or any(not name.isprintable() or "." in name or not name for name in names)
        ):
            raise ValueError(f"array {path!r} has no path of T5X: name it like target/decoder/layers_0/mlp/wo/kernel")
        above = next((one for i in range(1, len(names)) if (one := "/".join(names[:i])) in arrays), None)
        if above is not None:
            raise ValueError(f"arrays {above} and {path} cannot both be there: rename one")


def _write_array(directory: pathlib.Path, path: str, value: Any, step: int) -> Any:
    """Writes an array unless it is a scalar, and returns what the index says of it."""
    array = np.asarray(value)
    if array.dtype.name not in DTYPES:
        raise ValueError(f"array {path} has dtype {array.dtype}: give one of {', '.join(DTYPES)}")
    if path == "state/step" and (array.shape or array.item() != step):
        raise ValueError(f"array state/step is {array}, and step is {step}: give the same, or leave the array out")
    array = array.astype(DTYPES[array.dtype.name], copy=False)  # of this machine's byte order
    if not array.shape:
        return array
    spec = {
        "driver": "zarr",
        "dtype": array.dtype.name,
        "kvstore": {"driver": "file", "path": path.replace("/", ".") + "/"},
        "metadata": {
            "shape": list(array.shape),
            "chunks": chunk_shape(array.shape, array.dtype.itemsize),
            "compressor": {"id": "gzip", "level": 1},
        },
    }
    place = {"driver": "file", "path": f"{directory / spec['kvstore']['path']}/"}
    try:
        ts.open(spec | {"kvstore": place}, create=True, open=True).result().write(array).result()
    except Exception as error:  # tensorstore passes on whatever its layers raise
        raise OSError(f"cannot write {path} to {directory}: {first_line(error)}. Free some space") from error
    return spec


def chunk_shape(shape: tuple[int, ...], itemsize: int) -> list[int]:
    """Returns a shape of at most 64 MiB into which to cut an array: its longest dimension is halved until it fits."""
    chunks = [max(size, 1) for size in shape]
    while math.prod(chunks) * itemsize > CHUNK_BYTES:
        longest = chunks.index(max(chunks))
        chunks[longest] = -(-chunks[longest] // 2)
    return chunks


def _insert(index: dict[str, Any], path: str, value: Any) -> None:
    *parents, name = path.split("/")
    for parent in parents:
        index = index.setdefault(parent, {})
    index[name] = value


def _packed(index: dict[str, Any]) -> bytes:
    def extension(scalar: Any) -> msgpack.ExtType:
        fields = list(scalar.shape), scalar.dtype.name, scalar.tobytes()
        return msgpack.ExtType(ARRAY, msgpack.packb(fields, use_bin_type=True))

    packed = msgpack.packb(index, default=extension, use_bin_type=True)
    assert packed is not None
    return packed
