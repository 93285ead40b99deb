# SPDX-License-Identifier: Apache-2.0
"""The safetensors files of a directory: one, or several that an index lists."""

import json
import math
import pathlib
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from t5x_lite.checkpoints.hf.config import read_json
from t5x_lite.checkpoints.hf.tensor_files import Tensor, read_header, write_tensors
from t5x_lite.files.atomic_write import write_atomically
from t5x_lite.files.messages import listed

WEIGHTS_FILE, INDEX_FILE = "model.safetensors", "model.safetensors.index.json"
SHARD_BYTES = 2 * 10**9

Progress = Callable[[int], object]  # is told of so many bytes more


def write_weights(
    directory: pathlib.Path,
    shapes: Mapping[str, tuple[int, ...]],
    read: Callable[[str], Iterator[np.ndarray]],
    dtype: np.dtype,
    *,
    shard_bytes: int = SHARD_BYTES,
    progress: Progress = lambda num_bytes: None,
) -> None:
    """Writes arrays into one file, or, of more bytes than that, into several and an index.

    Args:
      directory: gets the files; it exists.
      shapes: of the arrays, by name, in the order in which they are written.
      read: yields the numbers of an array in parts, which follow one another in C order.
      dtype: of the numbers in the files.
      shard_bytes: of a file, at most, unless one array is larger.
      progress: is told how many bytes more have been written.

    Raises:
      OSError: if they cannot be written.
    """
    sizes = {name: math.prod(shape) * dtype.itemsize for name, shape in shapes.items()}
    files = _files(sizes, shard_bytes)
    for file_name, names in files.items():
        write_tensors(directory / file_name, {name: shapes[name] for name in names}, read, dtype, progress=progress)
    if len(files) > 1:
        places = {name: file_name for file_name, names in files.items() for name in names}
        index = {"metadata": {"total_size": sum(sizes.values())}, "weight_map": places}
        write_atomically(directory / INDEX_FILE, json.dumps(index, indent=2) + "\n")


def _files(sizes: Mapping[str, int], shard_bytes: int) -> dict[str, list[str]]:
    """Returns which arrays each file gets, filled one after the other."""
    shards: list[list[str]] = [[]]
    total = 0
    for name, num_bytes in sizes.items():
        if shards[-1] and total + num_bytes > shard_bytes:
            shards.append([])
            total = 0
        shards[-1].append(name)
        total += num_bytes
    if len(shards) == 1:
        return {WEIGHTS_FILE: shards[0]}
    return {f"model-{i:05d}-of-{len(shards):05d}.safetensors": names for i, names in enumerate(shards, 1)}


def open_weights(directory: pathlib.Path) -> dict[str, Tensor]:
    """Returns all tensors of a directory by name.

    Raises:
      ValueError: if there are none, or a file that the index names is missing, outside of the directory or damaged.
    """
    index_path = directory / INDEX_FILE
    if (directory / WEIGHTS_FILE).is_file():
        return read_header(directory / WEIGHTS_FILE)
    if not index_path.is_file():
        pickled = sorted(path.name for path in directory.glob("*.bin"))
        if pickled:
            raise ValueError(
                f"{directory} has its weights in {pickled[0]}, a pickle, which can run any program when it is read: "
                f"convert it once with transformers: AutoModelForSeq2SeqLM.from_pretrained({str(directory)!r})"
                f".save_pretrained(..., safe_serialization=True)"
            )
        raise ValueError(f"{directory} has neither {WEIGHTS_FILE} nor {INDEX_FILE}: name a directory with weights")
    places = read_json(index_path).get("weight_map")
    if not isinstance(places, dict) or not all(isinstance(name, str) for name in places.values()):
        raise ValueError(f"{index_path} has no weight_map from names to files: it is damaged; get it again")
    tensors: dict[str, Tensor] = {}
    for file_name in sorted(set(places.values())):
        _check_file_name(index_path, file_name)
        if not (directory / file_name).is_file():
            raise ValueError(f"{directory / file_name}, which {index_path} names, does not exist: get it again")
        held = read_header(directory / file_name)
        asked = {name for name, place in places.items() if place == file_name}
        if held.keys() != asked:
            differ = listed(sorted(held.keys() ^ asked), 5)
            raise ValueError(f"{directory / file_name} and {index_path} differ in {differ}: get both again")
        tensors |= held
    return tensors


def _check_file_name(index_path: pathlib.Path, name: str) -> None:
    if pathlib.PurePath(name).name != name or "\\" in name or not name.endswith(".safetensors"):
        raise ValueError(f"{index_path} names the file {name!r}: t5x_lite reads .safetensors files beside it alone")
