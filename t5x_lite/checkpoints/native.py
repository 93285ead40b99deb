# SPDX-License-Identifier: Apache-2.0
"""Models in t5x_lite's own form: a directory of model.json, safetensors files and the tokenizer's files.

The arrays have the names and shapes that they have in memory, all layers of a stack in one, so that each device reads
its own part with no more than it needs.
"""

import dataclasses
import json
import math
import pathlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from t5x_lite.checkpoints.arrays import Index
from t5x_lite.checkpoints.hf.config import read_json
from t5x_lite.checkpoints.hf.weight_files import SHARD_BYTES, open_weights, write_weights
from t5x_lite.checkpoints.param_names import differences
from t5x_lite.checkpoints.weights import LazyModel, Progress
from t5x_lite.config import ModelConfig
from t5x_lite.config.architectures import ARCHITECTURES, Architecture
from t5x_lite.data.tokenizers import Tokenizer, load_tokenizer
from t5x_lite.files.atomic_write import new_directory, write_atomically
from t5x_lite.model.architectures import abstract
from t5x_lite.parallel.param_paths import named_leaves

MODEL_FILE = "model.json"
FORMAT = "t5x_lite model"
LARGEST_SIZE = 2**31  # of a dimension
PART_SIZE = 2**24  # numbers held at once


class Description(NamedTuple):
    """What model.json says."""

    config: ModelConfig
    architecture: Architecture
    step: int  # how many updates made it


def open_checkpoint(path: pathlib.Path, tokenizer: Tokenizer | None) -> LazyModel:
    """Opens a model in t5x_lite's own format; `tokenizer` replaces its own."""
    own = OwnCheckpoint(path)
    tokenizer = tokenizer or load_tokenizer(path)
    return LazyModel(own.config, own.architecture, tokenizer, own.step, own.dtype, own.read)


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
        save_own(temporary, description, model.read, dtype=dtype, progress=progress)


class OwnCheckpoint:
    """The weights of a directory, checked against its model.json.

    Args:
      directory: holds model.json and the safetensors files.

    Raises:
      ValueError: if a file is missing, damaged or not what the others say.
    """

    def __init__(self, directory: pathlib.Path):
        description = read_json(directory / MODEL_FILE)
        self.config, self.architecture, self.step = _parsed(description, directory / MODEL_FILE)
        self._tensors = open_weights(directory)
        shapes = {name: leaf.shape for name, leaf in named_leaves(abstract(self.config, self.architecture)).items()}
        missing, unknown = sorted(shapes.keys() - self._tensors.keys()), sorted(self._tensors.keys() - shapes.keys())
        if problem := differences(missing, unknown):
            raise ValueError(f"{directory} does not fit its {MODEL_FILE}: it {problem}. Use files of the same model")
        for name, shape in shapes.items():
            if self._tensors[name].shape != shape:
                raise ValueError(
                    f"{self._tensors[name].path} has {name} of shape {list(self._tensors[name].shape)}, and "
                    f"{MODEL_FILE} asks for {list(shape)}: use files of the same model"
                )

    @property
    def dtype(self) -> np.dtype:
        """The type of the numbers in the files, that of the first if there are several."""
        return next(iter(self._tensors.values())).dtype

    def read(self, name: str, index: Index) -> np.ndarray:
        """Returns a part of a parameter, float32.

        Args:
          name: of the parameter.
          index: a slice with a start and a stop for each of its dimensions.
        """
        return self._tensors[name].read(index).astype(np.float32)


def save_own(
    directory: pathlib.Path,
    description: Description,
    read: Callable[[str, Index], np.ndarray],
    *,
    dtype: np.dtype,
    progress: Progress = lambda num_bytes: None,
    shard_bytes: int = SHARD_BYTES,
) -> None:
    """Writes a model in this form, without its tokenizer.

    Args:
      directory: gets the files; it exists.
      description: of the model.
      read: returns a part of a parameter, as `OwnCheckpoint.read` does.
      dtype: of the numbers in the files.
      progress: is told how many bytes more have been written.
      shard_bytes: of a file, at most, unless one array is larger.
    """
    cfg, architecture, step = description
    shapes = {name: leaf.shape for name, leaf in named_leaves(abstract(cfg, architecture)).items()}

    def parts(name: str) -> Iterator[np.ndarray]:
        shape = shapes[name]
        rows_a_part = max(1, PART_SIZE // max(math.prod(shape[1:]), 1))
        for begin in range(0, shape[0], rows_a_part):
            rest = tuple(slice(0, size) for size in shape[1:])
            yield read(name, (slice(begin, min(begin + rows_a_part, shape[0])), *rest))

    write_weights(directory, shapes, parts, dtype, shard_bytes=shard_bytes, progress=progress)
    fields = {"format": FORMAT, "step": step, "model": dataclasses.asdict(cfg)}
    fields["architecture"] = architecture._asdict()
    # Last: a directory with a model.json is whole.
    write_atomically(directory / MODEL_FILE, json.dumps(fields, indent=2) + "\n")


def model_config_from_json(fields: dict[str, Any]) -> ModelConfig:
    """Returns the config that JSON, which has lists and no tuples, was written from.

    Raises:
      TypeError: if there are other fields than a config has.
      ValueError: if a value is impossible.
    """
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()
    }
    return ModelConfig(**values)


def architecture_from_json(fields: dict[str, Any]) -> Architecture:
    """Returns the architecture that JSON was written from.

    Raises:
      ValueError: if there is none of that name.
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
            raise ValueError(f"its format is {description.get('format')!r} and not {FORMAT!r}")
        cfg, step = model_config_from_json(description["model"]), description["step"]
        default = ModelConfig()
        for field in dataclasses.fields(ModelConfig):
            value, usual = getattr(cfg, field.name), getattr(default, field.name)
            if field.name not in ("scale_logits", "remat") and not _alike(value, usual):
                raise ValueError(f"its {field.name} is {value!r}")
        if type(step) is not int or step < 0:
            raise ValueError(f"its step is {step!r}")
        return Description(cfg, architecture_from_json(description["architecture"]), step)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} describes no model ({error}): get it again") from error


def _alike(value: Any, usual: Any) -> bool:
    """Whether a value has the type of another, an int being a float too, and could be a size if it is an int."""
    if type(usual) is int:
        return type(value) is int and value <= LARGEST_SIZE
    return type(value) is type(usual) or (type(usual) is float and type(value) is int)
