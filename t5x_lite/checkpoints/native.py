# SPDX-License-Identifier: Apache-2.0
"""t5x_lite's own model directories: model.json, safetensors files and tokenizer files.

Arrays are stored with their in-memory names and shapes, all layers of a stack in one, so that each device reads exactly
its shards.
"""

import dataclasses
import json
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from t5x_lite.checkpoints import safetensors
from t5x_lite.checkpoints.arrays import PART_SIZE, Index, num_elements, parts_of, whole
from t5x_lite.checkpoints.param_names import check_arrays
from t5x_lite.checkpoints.sentence import read_head, write_head
from t5x_lite.checkpoints.sizes import check_sizes
from t5x_lite.checkpoints.weight_files import open_weights
from t5x_lite.checkpoints.weights import IGNORE, LazyModel, Progress, param_shapes
from t5x_lite.config import ModelConfig
from t5x_lite.config.architectures import ARCHITECTURES, Architecture
from t5x_lite.data.tokenizers import Tokenizer, load_tokenizer
from t5x_lite.files.atomic_write import write_atomically
from t5x_lite.files.json_object import read_json
from t5x_lite.files.messages import first_line
from t5x_lite.files.new_directory import new_directory

MODEL_FILE = "model.json"
FORMAT = "t5x_lite model"
MAX_SIZE = 2**31  # per dimension
# Values of the types that a field takes besides that of its default.
ALSO: dict[str, tuple[Any, ...]] = {"scale_logits": (True,), "remat": ((),)}


def open_checkpoint(path: pathlib.Path, tokenizer: Tokenizer | None) -> LazyModel:
    """Opens a model in t5x_lite's own format; `tokenizer` replaces its own.

    Raises:
      ValueError: if a file is missing or damaged, or model.json does not match the weights.
    """
    config, architecture, step = _parsed(read_json(path / MODEL_FILE), path / MODEL_FILE)
    tensors = open_weights(path)
    check_sizes(config, architecture, num_elements(tensors), f"{path / MODEL_FILE}")
    check_arrays(tensors, param_shapes(config, architecture), f"{path} does not match its {MODEL_FILE}: it")
    dtype = next(iter(tensors.values())).dtype

    def read(name: str, index: Index) -> np.ndarray:
        return tensors[name].read(index).astype(np.float32)

    head = read_head(path, config.emb_dim)
    return LazyModel(config, architecture, tokenizer or load_tokenizer(path), step, dtype, read, head=head)


def save_model(
    directory: pathlib.Path, model: LazyModel, tokenizer: Tokenizer, *, dtype: np.dtype, progress: Progress = IGNORE
) -> None:
    """Writes a model and its tokenizer into a new directory."""
    with new_directory(directory) as temporary:
        tokenizer.save(temporary)
        write_head(temporary, model, dtype)
        save_weights(temporary, model, dtype=dtype, progress=progress)


def save_weights(directory: pathlib.Path, model: LazyModel, *, dtype: np.dtype, progress: Progress = IGNORE) -> None:
    """Writes model.json and the weights of a model."""
    shapes = param_shapes(model.config, model.architecture)

    def parts(name: str) -> Iterator[np.ndarray]:
        shape = shapes[name]
        return (model.read(name, (part, *whole(shape[1:]))) for part in parts_of(shape, PART_SIZE))

    safetensors.write_weights(directory, shapes, parts, dtype, progress=progress)
    fields = {"format": FORMAT, "step": model.step, "model": model.config.stored()}
    fields["architecture"] = model.architecture.as_json()
    # Written last, so that a directory with a model.json is complete.
    write_atomically(directory / MODEL_FILE, json.dumps(fields, indent=2) + "\n")


def model_config_from_json(fields: dict[str, Any]) -> ModelConfig:
    """Returns the config in a JSON object; raises TypeError for unknown fields, ValueError for invalid values."""
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()
    }
    return ModelConfig(**values)


def architecture_from_json(fields: dict[str, Any]) -> Architecture:
    """Returns the architecture in a JSON object; raises ValueError if its name or labels are invalid."""
    name, labels, keeps_eos = fields["name"], fields["labels"], fields.get("keeps_eos", False)
    if not isinstance(name, str) or not isinstance(labels, list) or not isinstance(keeps_eos, bool):
        raise ValueError(f"its architecture is {fields!s:.80}")
    labels = tuple(labels)
    if name not in ARCHITECTURES:
        raise ValueError(f"it has the unknown architecture {name!r:.80}")
    if (ARCHITECTURES[name].labels_per is not None) != (len(labels) > 1) or not all(
        isinstance(label, str) for label in labels
    ):
        raise ValueError(f"a {name} cannot have the labels {list(labels)!s:.80}")
    return Architecture(name, labels, keeps_eos)


def _parsed(description: dict[str, Any], path: pathlib.Path) -> tuple[ModelConfig, Architecture, int]:
    try:
        if description.get("format") != FORMAT:
            raise ValueError(f"its format is {description.get('format')!r:.80}, not {FORMAT!r}")
        cfg, step = model_config_from_json(description["model"]), description["step"]
        default = ModelConfig()
        for field in dataclasses.fields(ModelConfig):
            value = getattr(cfg, field.name)
            if not _alike(value, getattr(default, field.name), *ALSO.get(field.name, ())):
                raise ValueError(f"its {field.name} is {value!r:.80}")
        if type(step) is not int or step < 0:
            raise ValueError(f"its step is {step!r:.80}")
        return cfg, architecture_from_json(description["architecture"]), step
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} does not describe a model ({first_line(error)}): download it again") from error


def _alike(value: Any, *examples: Any) -> bool:
    """Returns whether a value has the type of one of the examples, a tuple also that of its elements.

    Ints are at most MAX_SIZE and may stand for floats; tuples hold strings.
    """
    if isinstance(value, tuple):
        return any(type(example) is tuple for example in examples) and all(type(name) is str for name in value)
    allowed = {type(example) for example in examples}
    if type(value) is int:
        return not allowed.isdisjoint((int, float)) and value <= MAX_SIZE
    return type(value) in allowed
