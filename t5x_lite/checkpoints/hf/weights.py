# SPDX-License-Identifier: Apache-2.0
"""Models in Hugging Face's form: a directory of config.json, safetensors files and the tokenizer's files.

Numbers go from the files to where they belong, and back, a piece at a time: no machine ever holds the whole model
unless it is to hold it.

Shape letters: L layers.
"""

import json
import math
import pathlib
from collections.abc import Callable, Iterator

import numpy as np

from t5x_lite.checkpoints.arrays import Index
from t5x_lite.checkpoints.hf.config import CONFIG_FILE, config_fields, read_config
from t5x_lite.checkpoints.hf.tensor_files import Tensor
from t5x_lite.checkpoints.hf.tokenizer import read_tokenizer, save_tokenizer
from t5x_lite.checkpoints.hf.weight_files import SHARD_BYTES, open_weights, write_weights
from t5x_lite.checkpoints.param_names import Form, Row, differences, rows
from t5x_lite.checkpoints.weights import LazyModel, Progress
from t5x_lite.config import ModelConfig
from t5x_lite.data.tokenizers import Tokenizer
from t5x_lite.files.atomic_write import new_directory, write_atomically
from t5x_lite.model.architectures import ENCODER_DECODER, abstract
from t5x_lite.parallel.param_paths import named_leaves

GENERATION_FILE = "generation_config.json"
PART_SIZE = 2**24  # numbers held at once of an array that has no layers
# Names of the embedding again, and a table that T5's first checkpoints have and no model has ever read.
COPIES = {"encoder.embed_tokens.weight": "shared.weight", "decoder.embed_tokens.weight": "shared.weight"}
NEVER_READ = {"decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"}


def open_checkpoint(path: pathlib.Path, tokenizer: Tokenizer | None) -> LazyModel:
    """Opens a Hugging Face model directory; `tokenizer` replaces its own."""
    weights = HFCheckpoint(path)
    tokenizer = tokenizer or read_tokenizer(path)
    return LazyModel(weights.config, ENCODER_DECODER, tokenizer, 0, weights.dtype, weights.read)


def save_model(
    directory: pathlib.Path,
    model: LazyModel,
    tokenizer: Tokenizer,
    *,
    dtype: np.dtype,
    progress: Progress = lambda num_bytes: None,
) -> None:
    """Writes a model and its tokenizer into a new directory; see `load.save_hf`."""
    with new_directory(directory) as temporary:
        save_tokenizer(tokenizer, temporary)
        save_weights(temporary, model.config, model.read, dtype=dtype, progress=progress)


class HFCheckpoint:
    """The weights of a directory, checked against its config.

    Args:
      directory: holds config.json and the safetensors files.

    Raises:
      ValueError: if a file is missing, damaged or not what the others say.
    """

    def __init__(self, directory: pathlib.Path):
        self.directory = directory
        tensors = open_weights(directory)
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

    def _part(self, row: Row, layer: int, index: Index, shape: tuple[int, ...]) -> np.ndarray:
        part_shape = tuple(part.stop - part.start for part in index)
        tensor = self._tensors[row.hf_name(layer)]
        return row.from_hf(tensor.read(row.hf_index(index, shape)), part_shape).astype(np.float32)

    def _check(self) -> None:
        """Raises ValueError unless every parameter has its tensor, of its shape, and every tensor its parameter."""
        expected = {name: home[2] for name, home in _homes(self.config).items()}
        missing = sorted(expected.keys() - self._tensors.keys())
        unknown = sorted(self._tensors.keys() - expected.keys() - COPIES.keys() - NEVER_READ)
        if problem := differences(missing, unknown):
            raise ValueError(
                f"{self.directory} does not fit its {CONFIG_FILE}: it {problem}. Use weights and a config "
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
    shapes = {name: home[2] for name, home in homes.items()}
    write_weights(
        directory, shapes, lambda name: _parts(*homes[name], read), dtype, shard_bytes=shard_bytes, progress=progress
    )
    generation = {"decoder_start_token_id": 0, "eos_token_id": 1, "pad_token_id": 0}
    write_atomically(directory / GENERATION_FILE, json.dumps(generation, indent=2) + "\n")
    # Last: a directory with a config.json is whole.
    write_atomically(directory / CONFIG_FILE, json.dumps(fields, indent=2) + "\n")


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


def _whole(shape: tuple[int, ...]) -> Index:
    return tuple(slice(0, size) for size in shape)
