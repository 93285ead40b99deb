# SPDX-License-Identifier: Apache-2.0
"""Writes models and their Adafactor state as T5X checkpoints in the plain layout.

A checkpoint is a directory `checkpoint_STEP` with a MessagePack index `checkpoint`, which holds scalars and describes
the zarr arrays beside it.

Source: `t5x/checkpoints.py`: version 3, gzip, chunks of at most 64 MiB, directories named by dotted paths.
"""

import math
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import msgpack
import numpy as np
import tensorstore as ts
from flax.traverse_util import unflatten_dict

from t5x_lite.checkpoints.arrays import DTYPES, whole
from t5x_lite.checkpoints.param_names import rows
from t5x_lite.checkpoints.t5x.model import SLOT_NAMES, SLOTS, TARGET, kept_dims, layer_axes, plain_slot
from t5x_lite.checkpoints.t5x.msgpack import ARRAY
from t5x_lite.checkpoints.weights import IGNORE, LazyModel, Progress, Read, Slots, param_shapes
from t5x_lite.config import ModelConfig
from t5x_lite.files.full_disk import check_space
from t5x_lite.files.messages import first_line
from t5x_lite.files.new_directory import new_directory
from t5x_lite.optim.adafactor import MIN_DIM_SIZE_TO_FACTOR, MIN_SQUARED_GRADIENT, UNUSED_SHAPE

VERSION = 3
INDEX = "checkpoint"
CHUNK_BYTES = 64 * 2**20
COMPRESSED = 0.8  # of the size of float32 arrays at least
MAX_STEP = 2**31 - 1  # T5X stores it as int32
TOP = ("target", "state", "flax_mutables")

Source = Any | Callable[[], Any]


def save_model(directory: pathlib.Path, model: LazyModel, slots: Slots | None, *, progress: Progress) -> None:
    """Writes a model, and its Adafactor slots if any, into a new directory, reading one array at a time."""
    num_parameters = sum(math.prod(shape) for shape in param_shapes(model.config).values())
    with new_directory(directory) as temporary:
        check_space(temporary, COMPRESSED * 4 * num_parameters, "the checkpoint")
        write_t5x(temporary, plain_arrays(model.config, model.read, slots), model.step, progress=progress)


def plain_arrays(cfg: ModelConfig, read: Read, slots: Slots | None = None) -> dict[str, Callable[[], np.ndarray]]:
    """Returns functions that build a plain checkpoint's arrays, by path; without `slots`, the optimizer is left out."""
    arrays: dict[str, Callable[[], np.ndarray]] = {}
    shapes, axes = param_shapes(cfg), layer_axes(cfg)
    for row in rows(cfg):
        shape = shapes[row.ours]
        for layer in range(shape[0]) if row.has_layers else (None,):
            path = row.t5x if layer is None else row.t5x.format(layer=layer)
            index = whole(shape) if layer is None else (slice(layer, layer + 1), *whole(shape[1:]))
            matrix_shape = row.matrix_shape(shape if layer is None else shape[1:])

            def parameter(name: str = row.ours, index: Any = index, shape: Any = matrix_shape) -> np.ndarray:
                return np.asarray(read(name, index)).reshape(shape)

            arrays[f"{TARGET}{path}"] = parameter
            if slots is not None:
                sources = _slot_sources(slots[row.ours], layer, matrix_shape, axes[row.ours])
                arrays |= {f"{SLOTS}{path}/{slot}": source for slot, source in sources.items()}
    return arrays


def _slot_sources(
    slots: Mapping[str, np.ndarray], layer: int | None, matrix_shape: tuple[int, ...], axes: tuple[str, ...]
) -> dict[str, Callable[[], np.ndarray]]:
    """Returns functions that build the slots of one array."""

    def source(slot: str, shape: tuple[int, ...]) -> Callable[[], np.ndarray]:
        return lambda: np.asarray(slots[slot] if layer is None else slots[slot][layer]).reshape(shape)

    unused = np.zeros(UNUSED_SHAPE, np.float32)
    sources: dict[str, Callable[[], np.ndarray]] = dict.fromkeys(SLOT_NAMES, lambda: unused)
    if slots["v"].shape != UNUSED_SHAPE:
        sources["v"] = source("v", matrix_shape)
    elif min(matrix_shape) < MIN_DIM_SIZE_TO_FACTOR:  # which T5X does not factor in the plain layout
        v_row, v_col = (slots[slot] if layer is None else slots[slot][layer] for slot in ("v_row", "v_col"))
        sources["v"] = lambda: _second_moment(v_row, v_col, axes).reshape(matrix_shape)
    else:
        for slot, kept in kept_dims(axes).items():
            sources[plain_slot(matrix_shape, kept)] = source(slot, (-1,))
    if "m" in slots:
        sources["m"] = source("m", matrix_shape)
    return sources


def _second_moment(v_row: np.ndarray, v_col: np.ndarray, axes: tuple[str, ...]) -> np.ndarray:
    """Returns Adafactor's estimate of one layer's second moment from its factors."""
    kept = kept_dims(axes)
    rows, cols = np.expand_dims(v_row, kept["v_col"]), np.expand_dims(v_col, kept["v_row"])
    return rows * (cols / np.maximum(np.mean(v_row), MIN_SQUARED_GRADIENT))  # in this order, nothing underflows


def write_t5x(
    directory: str | pathlib.Path, arrays: Mapping[str, Source], step: int, *, progress: Progress = IGNORE
) -> pathlib.Path:
    """Writes a checkpoint, which appears only once it is complete, with one array in memory at a time.

    Args:
      directory: the parent of the new directory `checkpoint_STEP`; created if missing.
      arrays: arrays, or functions that return them, by T5X path as in `read_t5x`. `state/step` is added if missing.
      step: the number of updates made.

    Returns:
      The directory of the checkpoint.

    Raises:
      ValueError: if the checkpoint exists already, or T5X could not read such arrays.
      OSError: if it cannot be written.
    """
    if type(step) is not int or not 0 <= step <= MAX_STEP:
        raise ValueError(f"step is {step!r}: give a number of updates from 0 to {MAX_STEP:,}")
    _check_paths(arrays)
    final = pathlib.Path(directory).absolute() / f"checkpoint_{step}"
    if final.exists():
        raise ValueError(f"{final} exists already: remove it, or write to another directory")
    entries: dict[str, Any] = {}
    with new_directory(final) as temporary:
        for path, source in ({"state/step": np.int32(step)} | dict(arrays)).items():
            array = np.asarray(source() if callable(source) else source)
            if path.startswith(TARGET):
                progress(array.nbytes)
            entries[path] = _write_array(temporary, path, array, step)
        index = {"target": {}, "state": {}} | unflatten_dict(entries, sep="/")
        (temporary / INDEX).write_bytes(_packed({"version": VERSION, "optimizer": index}))
    return final


def _check_paths(arrays: Mapping[str, Source]) -> None:
    """Raises ValueError for paths that are ambiguous or could not be read back."""
    for path in arrays:
        names = path.split("/")
        if (
            len(names) < 2
            or names[0] not in TOP
            or any(not name.isprintable() or "." in name or not name for name in names)
        ):
            raise ValueError(f"array {path!r} is not a T5X path: use one like target/decoder/layers_0/mlp/wo/kernel")
        parent = next((above for i in range(1, len(names)) if (above := "/".join(names[:i])) in arrays), None)
        if parent is not None:
            raise ValueError(f"arrays {parent} and {path} cannot both exist: rename one")


def _write_array(directory: pathlib.Path, path: str, array: np.ndarray, step: int) -> Any:
    """Writes an array and returns its index entry; scalars are only returned, because the index holds them."""
    if array.dtype.name not in DTYPES:
        raise ValueError(f"array {path} has dtype {array.dtype}: give one of {', '.join(DTYPES)}")
    if path == "state/step" and (array.shape or array.item() != step):
        raise ValueError(f"array state/step is {array}, but step is {step}: make them equal, or leave the array out")
    array = array.astype(DTYPES[array.dtype.name], copy=False)  # to native byte order
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
    """Returns chunks of at most 64 MiB for an array, halving the longest dimension until they fit."""
    chunks = [max(size, 1) for size in shape]
    while math.prod(chunks) * itemsize > CHUNK_BYTES:
        longest = chunks.index(max(chunks))
        chunks[longest] = -(-chunks[longest] // 2)
    return chunks


def _packed(index: dict[str, Any]) -> bytes:
    def extension(scalar: Any) -> msgpack.ExtType:
        fields = list(scalar.shape), scalar.dtype.name, scalar.tobytes()
        return msgpack.ExtType(ARRAY, msgpack.packb(fields, use_bin_type=True))

    packed = msgpack.packb(index, default=extension, use_bin_type=True)
    assert packed is not None
    return packed
