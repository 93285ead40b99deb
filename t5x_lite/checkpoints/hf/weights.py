# SPDX-License-Identifier: Apache-2.0
"""Hugging Face model directories: config.json, safetensors files and tokenizer files.

To bound memory, parameters are converted one layer, or one slice of the vocabulary, at a time.
"""

import dataclasses
import json
import pathlib
import sys
from collections.abc import Iterator

import numpy as np

from t5x_lite.checkpoints import safetensors
from t5x_lite.checkpoints.arrays import PART_SIZE, Index, num_elements, parts_of, whole
from t5x_lite.checkpoints.hf.architecture import (
    architecture_fields,
    architecture_rows,
    check_writable,
    own_tensors,
    read_architecture,
    stored_name,
)
from t5x_lite.checkpoints.hf.config import (
    CONFIG_FILE,
    GENERATION_FILE,
    config_fields,
    eos_ids,
    read_config,
    read_json,
)
from t5x_lite.checkpoints.hf.embedding import LM_HEAD, with_one_embedding
from t5x_lite.checkpoints.hf.generation import published_settings, settings_fields
from t5x_lite.checkpoints.hf.settings import unfollowed_settings
from t5x_lite.checkpoints.hf.tokenizer import read_tokenizer, save_tokenizer, tokenizer_directory
from t5x_lite.checkpoints.param_names import Form, Row, check_arrays
from t5x_lite.checkpoints.sentence import write_head
from t5x_lite.checkpoints.sizes import check_sizes
from t5x_lite.checkpoints.weight_files import open_weights
from t5x_lite.checkpoints.weights import IGNORE, LazyModel, Progress, Read, param_shapes
from t5x_lite.config import ModelConfig
from t5x_lite.data.tokenizers import Tokenizer
from t5x_lite.files.atomic_write import write_atomically
from t5x_lite.files.new_directory import new_directory
from t5x_lite.model.architectures import ENCODER_DECODER, Architecture

# A table in the original T5 checkpoints that no model reads.
UNUSED = {"decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"}


def open_checkpoint(path: pathlib.Path, tokenizer: Tokenizer | None) -> LazyModel:
    """Opens a Hugging Face model directory; `tokenizer` replaces its own.

    Raises:
      ValueError: if a file is missing or damaged, or config.json does not match the weights.
    """
    stored = open_weights(path)
    architecture = read_architecture(path / CONFIG_FILE, read_json(path / CONFIG_FILE), stored)
    own, told = own_tensors(path, stored, architecture)
    if told:
        print(told, file=sys.stderr)
    tensors = with_one_embedding(own, path, tell=lambda line: print(line, file=sys.stderr))
    config = read_config(path, has_lm_head=LM_HEAD in tensors)
    if not architecture.traits.decodes:  # it ties nothing, but a masked_lm that starts from it ties as its family does
        config = dataclasses.replace(config, tie_embeddings=config.scales_logits)
    described = str(path / CONFIG_FILE)
    check_sizes(config, architecture, num_elements(tensors), described, num_arrays=len(tensors))
    expected = {name: hf_shape for name, (*_, hf_shape) in _layers(config, architecture).items()}
    check_arrays(tensors, expected, f"{path} does not match its {CONFIG_FILE}: it", ignored=UNUSED)
    rows_by_name = {row.ours: row for row in architecture_rows(config, architecture)}
    shapes = param_shapes(config, architecture)

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

    if line := unfollowed_settings(path):
        print(line, file=sys.stderr)
    dtype = next(iter(tensors.values())).dtype
    tokenizer = tokenizer or read_tokenizer(tokenizer_directory(path))
    if tokenizer.eos_id in eos_ids(read_json(path / CONFIG_FILE)):  # of several EOS ids, the tokenizer's
        config = dataclasses.replace(config, eos_id=tokenizer.eos_id)
    return LazyModel(config, architecture, tokenizer, 0, dtype, read, decoding=published_settings(path))


def save_model(
    directory: pathlib.Path, model: LazyModel, tokenizer: Tokenizer, *, dtype: np.dtype, progress: Progress = IGNORE
) -> None:
    """Writes a model and its tokenizer into a new directory; see `load.save_hf`."""
    with new_directory(directory) as temporary:
        save_tokenizer(tokenizer, temporary)
        write_head(temporary, model, dtype)
        if model.architecture.traits.decodes:
            settings = json.dumps(settings_fields(model.config, model.decoding), indent=2)
            write_atomically(temporary / GENERATION_FILE, settings + "\n")
        own = (model.config, model.read)
        save_weights(temporary, *own, dtype=dtype, progress=progress, architecture=model.architecture)


def save_weights(
    directory: pathlib.Path,
    cfg: ModelConfig,
    read: Read,
    *,
    dtype: np.dtype,
    progress: Progress = IGNORE,
    architecture: Architecture = ENCODER_DECODER,
) -> None:
    """Writes config.json and the weights of a model."""
    check_writable(architecture, "the model")
    fields = config_fields(cfg) | {"torch_dtype": dtype.name} | architecture_fields(cfg, architecture)
    layers, shapes = _layers(cfg, architecture), param_shapes(cfg, architecture)

    def parts(name: str) -> Iterator[np.ndarray]:
        row, layer, hf_shape = layers[own_names[name]]
        index = list(whole(shapes[row.ours]))
        if row.has_layers:
            index[0] = slice(layer, layer + 1)
            yield row.to_hf(read(row.ours, tuple(index))[0])
            return
        for part in parts_of(hf_shape, PART_SIZE):
            index[0 if row.form is Form.KEPT else -1] = part  # the first dimension in Hugging Face
            yield row.to_hf(read(row.ours, tuple(index)))

    own_names = {stored_name(name, architecture): name for name in layers}
    hf_shapes = {stored: layers[name][-1] for stored, name in own_names.items()}
    safetensors.write_weights(directory, hf_shapes, parts, dtype, progress=progress)
    # Written last, so that a directory with a config.json is complete.
    write_atomically(directory / CONFIG_FILE, json.dumps(fields, indent=2) + "\n")


def _layers(cfg: ModelConfig, architecture: Architecture) -> dict[str, tuple[Row, int, tuple[int, ...]]]:
    """Maps the name of each Hugging Face tensor to its parameter, layer and shape."""
    shapes = param_shapes(cfg, architecture)
    return {
        row.hf.format(layer=layer): (row, layer, row.hf_shape(shapes[row.ours][row.has_layers :]))
        for row in architecture_rows(cfg, architecture)
        for layer in range(shapes[row.ours][0] if row.has_layers else 1)
    }
