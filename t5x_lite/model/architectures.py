# SPDX-License-Identifier: Apache-2.0
"""Builds models by architecture."""

import functools
import pkgutil
from collections.abc import Mapping
from typing import Any, Protocol

import jax
from flax import nnx

from t5x_lite.config import ModelConfig
from t5x_lite.config.architectures import ENCODER_DECODER, Architecture
from t5x_lite.model.embedding import Predictions


class Model(Protocol):
    """The interface that training and evaluation need: a pytree of parameters with a config and `predict`."""

    cfg: ModelConfig

    def predict(self, batch: Mapping[str, jax.Array], dropout_key: jax.Array | None = None) -> Predictions:
        """Returns the predictions for a batch of the architecture's features."""
        ...


def make_model(cfg: ModelConfig, architecture: Architecture, *, rngs: nnx.Rngs) -> Any:
    """Returns a new, randomly initialised model."""
    model = pkgutil.resolve_name(architecture.traits.model)
    if architecture.traits.labels_per:
        return model(cfg, len(architecture.labels), rngs=rngs)
    return model(cfg, rngs=rngs)


@functools.cache
def abstract(cfg: ModelConfig, architecture: Architecture = ENCODER_DECODER) -> Any:
    """Returns a model whose leaves are `jax.ShapeDtypeStruct`; cached, since tracing takes a quarter of a second."""
    return jax.eval_shape(lambda: make_model(cfg, architecture, rngs=nnx.Rngs(0)))
