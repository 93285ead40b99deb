# SPDX-License-Identifier: Apache-2.0
"""t5x_lite's own model directories: model.json, safetensors files and the tokenizer's files.

Arrays are stored with the names and shapes they have in memory, all layers of a stack in one, so that each device
reads exactly its shards.
"""

import dataclasses
import json
import pathlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from t5x_lite.checkpoints.arrays import Index, whole
from t5x_lite.checkpoints.hf.config import read_json
from t5x_lite.checkpoints.param_names import check_arrays
from t5x_lite.checkpoints.safetensors import SHARD_BYTES, open_weights, parts_of, write_weights
from t5x_lite.checkpoints.weights import LazyModel, Progress, Read
from t5x_lite.config import ModelConfig
from t5x_lite.config.architectures import ARCHITECTURES, Architecture
from t5x_lite.data.tokenizers import Tokenizer, load_tokenizer
from t5x_lite.files.atomic_write import new_directory, write_atomically
from t5x_lite.model.architectures import abstract
from t5x_lite.parallel.param_paths import named_leaves

MODEL_FILE = "model.json"
FORMAT = "t5x_lite model"
MAX_SIZE = 2**31  # of a dimension
PART_SIZE = 2**24  # elements in memory at once


class Description(NamedTuple):
    """The content of model.json."""

    config: ModelConfig
    architecture: Architecture
    step: int  # the number of updates made


def open_checkpoint(path: pathlib.Path, tokenizer: Tokenizer | None) -> LazyModel:
    """Opens a model in t5x_lite's own format; `tokenizer` replaces its own."""
    checkpoint = NativeCheckpoint(path)
    tokenizer = tokenizer or load_tokenizer(path)
    return LazyModel(
        checkpoint.config, checkpoint.architecture, tokenizer, checkpoint.step, checkpoint.dtype, checkpoint.read
    )


def save_model(
    directory: pathlib.Path,
    model: LazyModel,
    tokenizer: Tokenizer,
    *,
    dtype: np.dtype,
    progress: Progress = lambda num_bytes: None,
) -> None:
    """Writes a model and its tokenizer into a new directory."""
    with new_directory(directory) as temporary:
        tokenizer.save(temporary)
        description = Description(model.config, model.architecture, model.step)
        save_weights(temporary, description, model.read, dtype=dtype, progress=progress)


class NativeCheckpoint:
    """The weights of a directory, validated against its model.json.

    Args:
      directory: the directory with model.json and the safetensors files.

    Raises:
      ValueError: if a file is missing or damaged, or the files do not match.
    """

    def __init__(self, directory: pathlib.Path):
        path = directory / MODEL_FILE
        self.config, self.architecture, self.step = _parsed(read_json(path), path)
        self._tensors = open_weights(directory)
        where = f"{directory} does not match its {MODEL_FILE}: it"
        check_arrays(self._tensors, _shapes(self.config, self.architecture), where)

    @property
    def dtype(self) -> np.dtype:
        """The dtype of the first tensor."""
        return next(iter(self._tensors.values())).dtype

    def read(self, name: str, index: Index) -> np.ndarray:
        """Returns a slice of a parameter in float32; see `weights.Read`."""
        return self._tensors[name].read(index).astype(np.float32)


def save_weights(
    directory: pathlib.Path,
    description: Description,
    read: Read,
    *,
    dtype: np.dtype,
    progress: Progress = lambda num_bytes: None,
    shard_bytes: int = SHARD_BYTES,
) -> None:
    """Writes model.json and the weights of a model.

    Args:
      directory: an existing directory.
      description: the content of model.json.
      read: reads a slice of a parameter.
      dtype: the dtype to store.
      progress: called with the number of bytes written.
      shard_bytes: the size of a file, which only a single larger array may exceed.
    """
    shapes = _shapes(description.config, description.architecture)

    def parts(name: str) -> Iterator[np.ndarray]:
        shape = shapes[name]
        return (read(name, (part, *whole(shape[1:]))) for part in parts_of(shape, PART_SIZE))

    write_weights(directory, shapes, parts, dtype, shard_bytes=shard_bytes, progress=progress)
    fields = {"format": FORMAT, "step": description.step, "model": dataclasses.asdict(description.config)}
    fields["architecture"] = description.architecture._asdict()
    # Last, so that a directory with a model.json is complete.
    write_atomically(directory / MODEL_FILE, json.dumps(fields, indent=2) + "\n")


def _shapes(cfg: ModelConfig, architecture: Architecture) -> dict[str, tuple[int, ...]]:
    return {name: leaf.shape for name, leaf in named_leaves(abstract(cfg, architecture)).items()}


def model_config_from_json(fields: dict[str, Any]) -> ModelConfig:
    """Returns the config stored in a JSON object, whose lists become tuples.

    Raises:
      TypeError: if a field is unknown.
      ValueError: if a value is out of range.
    """
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()
    }
    return ModelConfig(**values)


def architecture_from_json(fields: dict[str, Any]) -> Architecture:
    """Returns the architecture stored in a JSON object.

    Raises:
      ValueError: if its name is unknown, or its labels do not fit it.
    """
    name, labels = fields["name"], fields["labels"]
    if not isinstance(name, str) or not isinstance(labels, list):
        raise ValueError(f"its architecture is {fields}")
    labels = tuple(labels)
    if name not in ARCHITECTURES:
        raise ValueError(f"it has the unknown architecture {name!r}")
    if (ARCHITECTURES[name].labels_per is not None) != (len(labels) > 1) or not all(
        isinstance(label, str) for label in labels
    ):
        raise ValueError(f"a {name} cannot have the labels {list(labels)}")
    return Architecture(name, labels)


def _parsed(description: dict[str, Any], path: pathlib.Path) -> Description:
    try:
        if description.get("format") != FORMAT:
            raise ValueError(f"its format is {description.get('format')!r}, not {FORMAT!r}")
        cfg, step = model_config_from_json(description["model"]), description["step"]
        default = ModelConfig()
        for field in dataclasses.fields(ModelConfig):
            value = getattr(cfg, field.name)
            if field.name not in ("scale_logits", "remat") and not _alike(value, getattr(default, field.name)):
                raise ValueError(f"its {field.name} is {value!r}")
        if type(step) is not int or step < 0:
            raise ValueError(f"its step is {step!r}")
        return Description(cfg, architecture_from_json(description["architecture"]), step)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} does not describe a model ({error}): download it again") from error


def _alike(value: Any, default: Any) -> bool:
    """Returns whether a value has the type of the default, where an int may stand for a float and must be a size."""
    if type(default) is int:
        return type(value) is int and value <= MAX_SIZE
    return type(value) is type(default) or (type(default) is float and type(value) is int)
