# SPDX-License-Identifier: Apache-2.0
"""Models in Hugging Face's form: a directory of config.json, safetensors files and the tokenizer's files.

Numbers go from the files to where they belong, and back, a piece at a time: no machine ever holds the whole model
unless it is to hold it.

Shape letters: L layers.
"""

import json
import math
import pathlib
from collections.abc import Callable, Iterator, Mapping

import jax
import numpy as np

from t5x_lite.atomic import write_atomically
from t5x_lite.config import ModelConfig
from t5x_lite.interop.arrays import Index, checked_index
from t5x_lite.interop.hf_config import CONFIG_FILE, config_fields, read_config, read_json
from t5x_lite.interop.names import Form, Row, rows
from t5x_lite.interop.tensor_files import Tensor, read_header, write_tensors
from t5x_lite.model.architectures import abstract
from t5x_lite.model.transformer import T5
from t5x_lite.trees import from_named_leaves, named_leaves

WEIGHTS_FILE, INDEX_FILE = "model.safetensors", "model.safetensors.index.json"
GENERATION_FILE = "generation_config.json"
SHARD_BYTES = 2 * 10**9
PART_SIZE = 2**24  # numbers held at once of an array that has no layers
# Names of the embedding again, and a table that T5's first checkpoints have and no model has ever read.
COPIES = {"encoder.embed_tokens.weight": "shared.weight", "decoder.embed_tokens.weight": "shared.weight"}
NEVER_READ = {"decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"}

Progress = Callable[[int], object]  # is told of so many bytes more


def is_hf_directory(path: pathlib.Path) -> bool:
    """Whether this looks like a model of Hugging Face's."""
    return (path / CONFIG_FILE).is_file()


class HFCheckpoint:
    """The weights of a directory, checked against its config.

    Args:
      directory: holds config.json and the safetensors files.

    Raises:
      ValueError: if a file is missing, damaged or not what the others say.
    """

    def __init__(self, directory: pathlib.Path):
        self.directory = directory
        tensors = _open_weights(directory)
        self.config: ModelConfig = read_config(directory, has_lm_head="lm_head.weight" in tensors)
        self._tensors = tensors
        self._rows = {row.ours: row for row in rows(self.config)}
        self._shapes = {name: leaf.shape for name, leaf in named_leaves(abstract(self.config)).items()}
        self._check()

    @property
    def dtype(self) -> np.dtype:
        """The type of the numbers in the files, that of the first if there are several."""
        return next(iter(self._tensors.values())).dtype

    @property
    def num_bytes(self) -> int:
        """Bytes of the numbers in the files."""
        return sum(tensor.num_bytes for tensor in self._tensors.values())

    def read(self, name: str, index: Index) -> np.ndarray:
        """Returns a part of a parameter, float32.

        Args:
          name: of the parameter, here.
          index: a slice with a start and a stop for each of its dimensions.
        """
        row, shape = self._rows[name], self._shapes[name]
        if not row.has_layers:
            return self._part(row, 0, index, shape)
        layers = range(index[0].start, index[0].stop)
        out = np.empty([part.stop - part.start for part in index], np.float32)
        for place, layer in enumerate(layers):
            out[place] = self._part(row, layer, index[1:], shape[1:])
        return out

    def model(self, shapes: T5 | None = None) -> T5:
        """Returns the model with these weights.

        Args:
          shapes: a model of `jax.ShapeDtypeStruct` whose shardings say where the parameters go; each device's part is
            read from the files by itself. None puts all on the default device.
        """

        def parameter(name: str, leaf: jax.ShapeDtypeStruct) -> jax.Array:
            if leaf.sharding is None:
                return jax.device_put(self.read(name, checked_index(None, leaf.shape, name)))
            return jax.make_array_from_callback(
                leaf.shape, leaf.sharding, lambda index: self.read(name, checked_index(index or (), leaf.shape, name))
            )

        shapes = abstract(self.config) if shapes is None else shapes
        arrays = {name: parameter(name, leaf) for name, leaf in named_leaves(shapes).items()}
        return from_named_leaves(shapes, arrays)

    def _part(self, row: Row, layer: int, index: Index, shape: tuple[int, ...]) -> np.ndarray:
        part_shape = tuple(part.stop - part.start for part in index)
        tensor = self._tensors[row.hf_name(layer)]
        return row.from_hf(tensor.read(row.hf_index(index, shape)), part_shape).astype(np.float32)

    def _check(self) -> None:
        """Raises ValueError unless every parameter has its tensor, of its shape, and every tensor its parameter."""
        expected = {name: home[2] for name, home in _homes(self.config).items()}
        missing = sorted(expected.keys() - self._tensors.keys())
        unknown = sorted(self._tensors.keys() - expected.keys() - COPIES.keys() - NEVER_READ)
        if missing or unknown:
            parts = [f"lacks {_listed(missing)}"] * bool(missing) + [f"has {_listed(unknown)} too"] * bool(unknown)
            raise ValueError(
                f"{self.directory} does not fit its {CONFIG_FILE}: it {' and '.join(parts)}. Use weights and a config "
                "of the same model"
            )
        for name, shape in expected.items():
            if self._tensors[name].shape != shape:
                raise ValueError(
                    f"{self._tensors[name].path} has {name} of shape {list(self._tensors[name].shape)}, and "
                    f"{CONFIG_FILE} asks for {list(shape)}: use weights and a config of the same model"
                )
        for name, of in COPIES.items():
            if name in self._tensors and not _same_numbers(self._tensors[name], self._tensors[of]):
                raise ValueError(
                    f"{self.directory} has {name} other than {of}, and a T5 has one embedding: mend either"
                )


def _same_numbers(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape:
        return False
    step = max(1, PART_SIZE // one.shape[1])
    parts = ((slice(i, min(i + step, one.shape[0])), slice(0, one.shape[1])) for i in range(0, one.shape[0], step))
    return all(np.array_equal(one.read(part), other.read(part)) for part in parts)


def save_weights(
    directory: pathlib.Path,
    cfg: ModelConfig,
    read: Callable[[str, Index], np.ndarray],
    *,
    dtype: np.dtype,
    shard_bytes: int = SHARD_BYTES,
    progress: Progress = lambda num_bytes: None,
) -> None:
    """Writes config.json, generation_config.json and the weights of a model.

    Args:
      directory: gets the files; it exists.
      cfg: the architecture.
      read: returns a part of a parameter, as `HFCheckpoint.read` does.
      dtype: of the numbers in the files.
      shard_bytes: of a file, at most, unless one tensor is larger.
      progress: is told how many bytes more have been written.

    Raises:
      ValueError: if Hugging Face has no such model.
      OSError: if the disk is full.
    """
    fields = config_fields(cfg) | {"torch_dtype": dtype.name}
    homes = _homes(cfg)
    files = _files(homes, dtype, shard_bytes)
    for file_name, names in files.items():
        shapes = {name: homes[name][2] for name in names}
        write_tensors(directory / file_name, shapes, lambda name: _parts(*homes[name], read), dtype, progress=progress)
    if len(files) > 1:
        total = sum(math.prod(shape) for _, _, shape, _ in homes.values()) * dtype.itemsize
        places = {name: file_name for file_name, names in files.items() for name in names}
        index = {"metadata": {"total_size": total}, "weight_map": places}
        write_atomically(directory / INDEX_FILE, json.dumps(index, indent=2) + "\n")
    generation = {"decoder_start_token_id": 0, "eos_token_id": 1, "pad_token_id": 0}
    write_atomically(directory / GENERATION_FILE, json.dumps(generation, indent=2) + "\n")
    # Last: a directory with a config.json is whole.
    write_atomically(directory / CONFIG_FILE, json.dumps(fields, indent=2) + "\n")


def reader(model: T5) -> Callable[[str, Index], np.ndarray]:
    """Returns what reads parts of a model's parameters, for `save_weights`."""
    leaves = named_leaves(model)
    return lambda name, index: np.asarray(leaves[name][index])


Home = tuple[Row, int, tuple[int, ...], tuple[int, ...]]  # the row, the layer, the shape there, the shape here


def _homes(cfg: ModelConfig) -> dict[str, Home]:
    """Returns where each of Hugging Face's tensors comes from, by its name."""
    shapes = {name: leaf.shape for name, leaf in named_leaves(abstract(cfg)).items()}
    homes: dict[str, Home] = {}
    for row in rows(cfg):
        shape = shapes[row.ours]
        for layer in range(shape[0]) if row.has_layers else (0,):
            single = shape[1:] if row.has_layers else shape
            homes[row.hf_name(layer)] = (row, layer, row.hf_shape(single), shape)
    return homes


def _parts(
    row: Row, layer: int, hf_shape: tuple[int, ...], shape: tuple[int, ...], read: Callable[[str, Index], np.ndarray]
) -> Iterator[np.ndarray]:
    """Yields a tensor of Hugging Face's, that of all the vocabulary in parts."""
    if row.has_layers:
        yield row.to_hf(read(row.ours, (slice(layer, layer + 1), *_whole(shape[1:])))[0])
        return
    # Its first dimension is the first here where the array is kept, and the last one where it is transposed.
    dimension = 0 if row.form is Form.KEPT else -1
    rows_a_part = max(1, PART_SIZE // math.prod(hf_shape[1:]))
    for begin in range(0, hf_shape[0], rows_a_part):
        index = list(_whole(shape))
        index[dimension] = slice(begin, min(begin + rows_a_part, hf_shape[0]))
        yield row.to_hf(read(row.ours, tuple(index)))


def _files(homes: Mapping[str, Home], dtype: np.dtype, shard_bytes: int) -> dict[str, list[str]]:
    """Returns which tensors each file gets, filled one after the other."""
    shards: list[list[str]] = [[]]
    size = 0
    for name, (_, _, shape, _) in homes.items():
        num_bytes = math.prod(shape) * dtype.itemsize
        if shards[-1] and size + num_bytes > shard_bytes:
            shards.append([])
            size = 0
        shards[-1].append(name)
        size += num_bytes
    if len(shards) == 1:
        return {WEIGHTS_FILE: shards[0]}
    return {f"model-{i:05d}-of-{len(shards):05d}.safetensors": names for i, names in enumerate(shards, 1)}


def _open_weights(directory: pathlib.Path) -> dict[str, Tensor]:
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
            differ = _listed(sorted(held.keys() ^ asked))
            raise ValueError(f"{directory / file_name} and {index_path} differ in {differ}: get both again")
        tensors |= held
    return tensors


def _check_file_name(index_path: pathlib.Path, name: str) -> None:
    if pathlib.PurePath(name).name != name or "\\" in name or not name.endswith(".safetensors"):
        raise ValueError(f"{index_path} names the file {name!r}: t5x_lite reads .safetensors files beside it alone")


def _whole(shape: tuple[int, ...]) -> Index:
    return tuple(slice(0, size) for size in shape)


def _listed(names: list[str], most: int = 5) -> str:
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest
