# SPDX-License-Identifier: Apache-2.0
"""Hugging Face model directories: config.json, safetensors files and tokenizer files.

To bound memory, parameters are converted one layer, or one slice of the vocabulary, at a time.
"""

import json
import pathlib
from collections.abc import Iterator

import numpy as np

from t5x_lite.checkpoints import safetensors
from t5x_lite.checkpoints.arrays import Index, whole
from t5x_lite.checkpoints.hf.config import CONFIG_FILE, config_fields, read_config
from t5x_lite.checkpoints.hf.tokenizer import read_tokenizer, save_tokenizer
from t5x_lite.checkpoints.param_names import Form, Row, check_arrays, rows
from t5x_lite.checkpoints.weights import IGNORE, LazyModel, Progress, Read, param_shapes
from t5x_lite.config import ModelConfig
from t5x_lite.data.tokenizers import Tokenizer
from t5x_lite.files.atomic_write import new_directory, write_atomically
from t5x_lite.model.architectures import ENCODER_DECODER

GENERATION_FILE = "generation_config.json"
PART_SIZE = 2**24  # elements in memory at once, of an array without layers
# Copies of the embedding, and an unused table in the original T5 checkpoints.
COPIES = {"encoder.embed_tokens.weight": "shared.weight", "decoder.embed_tokens.weight": "shared.weight"}
UNUSED = {"decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"}


def open_checkpoint(path: pathlib.Path, tokenizer: Tokenizer | None) -> LazyModel:
    """Opens a Hugging Face model directory; `tokenizer` replaces its own.

    Raises:
      ValueError: if a file is missing or damaged, or config.json does not match the weights.
    """
    tensors = safetensors.open_weights(path)
    config = read_config(path, has_lm_head="lm_head.weight" in tensors)
    expected = {name: hf_shape for name, (*_, hf_shape) in _layers(config).items()}
    check_arrays(tensors, expected, f"{path} does not match its {CONFIG_FILE}: it", ignored=COPIES.keys() | UNUSED)
    for copy, name in COPIES.items():
        if copy in tensors and not _equal(tensors[copy], tensors[name]):
            raise ValueError(
                f"{path} has {copy} different from {name}, but a T5 has one embedding: correct one of them"
            )
    rows_by_name, shapes = {row.ours: row for row in rows(config)}, param_shapes(config)

    def read_layer(row: Row, layer: int, index: Index, shape: tuple[int, ...]) -> np.ndarray:
        part = tensors[row.hf.format(layer=layer)].read(row.hf_index(index, shape))
        return row.from_hf(part, tuple(size.stop - size.start for size in index)).astype(np.float32)

    def read(name: str, index: Index) -> np.ndarray:
        row, shape = rows_by_name[name], shapes[name]
        if not row.has_layers:
            return read_layer(row, 0, index, shape)
        out = np.empty([part.stop - part.start for part in index], np.float32)
        for place, layer in enumerate(range(index[0].start, index[0].stop)):
            out[place] = read_layer(row, layer, index[1:], shape[1:])
        return out

    dtype = next(iter(tensors.values())).dtype
    return LazyModel(config, ENCODER_DECODER, tokenizer or read_tokenizer(path), 0, dtype, read)


def save_model(
    directory: pathlib.Path, model: LazyModel, tokenizer: Tokenizer, *, dtype: np.dtype, progress: Progress = IGNORE
) -> None:
    """Writes a model and its tokenizer into a new directory; see `load.save_hf`."""
    with new_directory(directory) as temporary:
        save_tokenizer(tokenizer, temporary)
        save_weights(temporary, model.config, model.read, dtype=dtype, progress=progress)


def _equal(one: safetensors.Tensor, other: safetensors.Tensor) -> bool:
    return one.shape == other.shape and all(
        np.array_equal(one.read((part, slice(0, one.shape[1]))), other.read((part, slice(0, one.shape[1]))))
        for part in safetensors.parts_of(one.shape, PART_SIZE)
    )


def save_weights(
    directory: pathlib.Path, cfg: ModelConfig, read: Read, *, dtype: np.dtype, progress: Progress = IGNORE
) -> None:
    """Writes config.json, generation_config.json and the weights of a model."""
    fields = config_fields(cfg) | {"torch_dtype": dtype.name}
    layers, shapes = _layers(cfg), param_shapes(cfg)

    def parts(name: str) -> Iterator[np.ndarray]:
        row, layer, hf_shape = layers[name]
        index = list(whole(shapes[row.ours]))
        if row.has_layers:
            index[0] = slice(layer, layer + 1)
            yield row.to_hf(read(row.ours, tuple(index))[0])
            return
        for part in safetensors.parts_of(hf_shape, PART_SIZE):
            index[0 if row.form is Form.KEPT else -1] = part  # the first dimension in Hugging Face
            yield row.to_hf(read(row.ours, tuple(index)))

    hf_shapes = {name: hf_shape for name, (*_, hf_shape) in layers.items()}
    safetensors.write_weights(directory, hf_shapes, parts, dtype, progress=progress)
    generation = {"decoder_start_token_id": 0, "eos_token_id": 1, "pad_token_id": 0}
    write_atomically(directory / GENERATION_FILE, json.dumps(generation, indent=2) + "\n")
    # Written last, so that a directory with a config.json is complete.
    write_atomically(directory / CONFIG_FILE, json.dumps(fields, indent=2) + "\n")


def _layers(cfg: ModelConfig) -> dict[str, tuple[Row, int, tuple[int, ...]]]:
    """Maps the name of each Hugging Face tensor to its parameter, layer and shape."""
    shapes = param_shapes(cfg)
    return {
        row.hf.format(layer=layer): (row, layer, row.hf_shape(shapes[row.ours][row.has_layers :]))
        for row in rows(cfg)
        for layer in range(shapes[row.ours][0] if row.has_layers else 1)
    }
