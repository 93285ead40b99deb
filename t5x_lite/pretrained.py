# SPDX-License-Identifier: Apache-2.0
"""Loading a trained model from a directory."""

import os
import pathlib
from typing import Any, NamedTuple

import jax
from flax import nnx
from jax.sharding import SingleDeviceSharding

from t5x_lite.checkpoint import Checkpoints
from t5x_lite.config import ModelConfig
from t5x_lite.data.tokenizer import Tokenizer, load_tokenizer
from t5x_lite.model.transformer import T5


class Pretrained(NamedTuple):
    """What `load` returns."""

    model: T5
    tokenizer: Tokenizer
    config: ModelConfig
    step: int  # of the checkpoint


def load(directory: str | os.PathLike[str]) -> Pretrained:
    """Reads the newest checkpoint of a run directory onto the default device.

    Raises:
      ValueError: if there is no such run, it has no checkpoint yet, or the checkpoint is damaged.
    """
    path = pathlib.Path(directory)
    if not (path / "config.yaml").is_file():
        raise ValueError(
            f"--checkpoint {path} is not a run directory (it has no config.yaml): name one that train made"
        )
    checkpoints = Checkpoints(path / "checkpoints")
    try:
        step = checkpoints.latest_step()
        if step is None:
            raise ValueError(f"--checkpoint {path} holds no checkpoint yet: let the run reach its first one")
        config = model_config_from_json(checkpoints.meta(step)["model"])
        sharding = SingleDeviceSharding(jax.devices()[0])
        shapes = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
            jax.eval_shape(lambda: T5(config, rngs=nnx.Rngs(0))),
        )
        model = checkpoints.restore(step, {"model": shapes})["model"]
    finally:
        checkpoints.close()
    return Pretrained(model, load_tokenizer(path), config, step)


def model_config_from_json(fields: dict[str, Any]) -> ModelConfig:
    """Returns the config that JSON, which has lists and no tuples, was written from."""
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()
    }
    return ModelConfig(**values)
