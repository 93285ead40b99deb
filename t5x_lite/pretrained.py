# SPDX-License-Identifier: Apache-2.0
"""Loading a trained model from a directory, and giving one away."""

import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, SingleDeviceSharding

from t5x_lite.atomic import new_directory
from t5x_lite.checkpoint import Checkpoints
from t5x_lite.config import ModelConfig
from t5x_lite.data.tokenizer import Tokenizer, load_tokenizer
from t5x_lite.interop.arrays import checked_index
from t5x_lite.interop.hf import HFCheckpoint, is_hf_directory, reader, save_weights
from t5x_lite.interop.hf_tokenizer import read_tokenizer, save_tokenizer
from t5x_lite.model.architectures import ENCODER_DECODER, Architecture, abstract
from t5x_lite.model.transformer import T5
from t5x_lite.sharding import parameter_axes, shardings
from t5x_lite.trees import from_named_leaves, named_leaves


class Pretrained(NamedTuple):
    """What `load` returns."""

    model: Any  # of `model.architectures`; a T5 unless it was trained as something else
    tokenizer: Tokenizer
    config: ModelConfig
    step: int  # of the checkpoint; 0 if it does not say
    architecture: Architecture = ENCODER_DECODER


def load(directory: str | os.PathLike[str], mesh: Mesh | None = None) -> Pretrained:
    """Reads a model: the newest checkpoint of a run directory, or a model directory of Hugging Face's.

    Args:
      directory: of either kind; which it is shows in the files it has.
      mesh: where the parameters go, each device reading its own part; None is the default device.

    Raises:
      ValueError: if it is neither, holds no checkpoint yet, or is damaged.
    """
    path = pathlib.Path(directory)
    if (path / "config.yaml").is_file():
        return _load_run(path, mesh)
    if is_hf_directory(path):
        checkpoint = HFCheckpoint(path)
        tokenizer = read_tokenizer(path)
        if tokenizer.vocab_size > checkpoint.config.vocab_size:
            raise ValueError(
                f"{path} has a tokenizer of {tokenizer.vocab_size:,} ids, and its model has vocab_size "
                f"{checkpoint.config.vocab_size:,}: use the files of the same model"
            )
        model = checkpoint.model(placed(checkpoint.config, mesh))
        return Pretrained(model, tokenizer, checkpoint.config, 0)
    raise ValueError(
        f"--checkpoint {path} is neither a run directory (it has no config.yaml) nor a Hugging Face model (it has no "
        "config.json): name one that train made, or one with config.json and model.safetensors"
    )


class Weights(NamedTuple):
    """A trained model that has been found, of which nothing big has been read yet."""

    config: ModelConfig
    architecture: Architecture
    tokenizer: Tokenizer | None
    step: int  # of the checkpoint; 0 if it does not say
    read: Callable[[str, Any], np.ndarray]  # of a parameter's name and an index: a part of it, float32


def open_pretrained(directory: str | os.PathLike[str]) -> Weights:
    """Finds a trained model of any kind that `load` reads, and checks what can be checked without reading it."""
    path = pathlib.Path(directory)
    if is_hf_directory(path) and not (path / "config.yaml").is_file():
        checkpoint = HFCheckpoint(path)
        return Weights(checkpoint.config, ENCODER_DECODER, read_tokenizer(path), 0, checkpoint.read)
    loaded = load(path)
    return Weights(loaded.config, loaded.architecture, loaded.tokenizer, loaded.step, reader(loaded.model))


def read_arrays(
    weights: Weights, leaves: Mapping[str, jax.ShapeDtypeStruct], sources: Mapping[str, str]
) -> dict[str, jax.Array]:
    """Returns parameters by name, each device reading its own part.

    Args:
      weights: to read from.
      leaves: shapes with shardings.
      sources: what `weights` calls each.
    """
    return {
        name: jax.make_array_from_callback(
            leaf.shape,
            leaf.sharding,
            lambda index, name=name, leaf=leaf: weights.read(sources[name], checked_index(index, leaf.shape, name)),
        )
        for name, leaf in leaves.items()
    }


def save_hf(model: T5, tokenizer: Tokenizer, directory: str | os.PathLike[str], *, dtype: str = "float32") -> None:
    """Writes a model as Hugging Face has them, for `transformers.AutoModelForSeq2SeqLM.from_pretrained`.

    Args:
      model: on devices that this process can read.
      tokenizer: of the model.
      directory: must not exist, or be empty; it appears when it is whole.
      dtype: of the numbers, float32 or bfloat16.

    Raises:
      ValueError: if the directory holds something, or Hugging Face has no such model or tokenizer.
      OSError: if it cannot be written.
    """
    write_hf(pathlib.Path(directory), model.cfg, tokenizer, reader(model), dtype=np.dtype(dtype))


def write_hf(
    directory: pathlib.Path,
    cfg: ModelConfig,
    tokenizer: Tokenizer,
    read: Callable[[str, Any], np.ndarray],
    *,
    dtype: np.dtype,
    progress: Callable[[int], object] = lambda num_bytes: None,
) -> None:
    """`save_hf` of parameters that `read` gives in parts, as `interop.hf.save_weights` takes it."""
    with new_directory(directory) as temporary:
        save_tokenizer(tokenizer, temporary)
        save_weights(temporary, cfg, read, dtype=dtype, progress=progress)


def placed(cfg: ModelConfig, mesh: Mesh | None, architecture: Architecture = ENCODER_DECODER) -> Any:
    """Returns a model of `jax.ShapeDtypeStruct` with shardings: over a mesh, or all on the default device."""
    shapes = abstract(cfg, architecture)
    if mesh is None:
        single = SingleDeviceSharding(jax.devices()[0])
        places = jax.tree.map(lambda _: single, shapes)
    else:
        places = shardings(mesh, shapes, parameter_axes(shapes))
    where = named_leaves(places)
    leaves = {
        name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=where[name])
        for name, leaf in named_leaves(shapes).items()
    }
    return from_named_leaves(shapes, leaves)


def _load_run(path: pathlib.Path, mesh: Mesh | None) -> Pretrained:
    checkpoints = Checkpoints(path / "checkpoints")
    try:
        step = checkpoints.latest_step()
        if step is None:
            raise ValueError(f"--checkpoint {path} holds no checkpoint yet: let the run reach its first one")
        meta = checkpoints.meta(step)
        config, architecture = model_config_from_json(meta["model"]), ENCODER_DECODER
        if "architecture" in meta:  # the first version had one alone
            architecture = Architecture(meta["architecture"]["name"], tuple(meta["architecture"]["labels"]))
        model = checkpoints.restore(step, {"model": placed(config, mesh, architecture)})["model"]
    finally:
        checkpoints.close()
    return Pretrained(model, load_tokenizer(path), config, step, architecture)


def model_config_from_json(fields: dict[str, Any]) -> ModelConfig:
    """Returns the config that JSON, which has lists and no tuples, was written from."""
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()
    }
    return ModelConfig(**values)
