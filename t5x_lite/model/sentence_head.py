# SPDX-License-Identifier: Apache-2.0
"""Turns an encoder's last hidden states into one vector per text.

Shape letters: B batch, S tokens, D model and input features, E output features.
"""

import dataclasses
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from t5x_lite.model.encoder import Encoder, mean_of_tokens
from t5x_lite.model.kernels.unstacked import config_of

MIN_NORM = 1e-12  # that a vector is divided by, as in torch


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Dense:
    """A dense layer with an activation, "identity" or "tanh"."""

    kernel_DE: np.ndarray
    bias_E: np.ndarray | None = None
    activation: str = dataclasses.field(default="identity", metadata={"static": True})


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class SentenceHead:
    """What turns last hidden states into a vector, as sentence-transformers describes it.

    Args:
      pooling: "mean" over the tokens, the "first" token, or "none", which keeps every token.
      dense: layers applied to pooled states, in order.
      normalise: whether vectors are divided by their L2 norm.
      max_tokens: length to which inputs are cut, EOS included; None cuts none.
      prompt: text before every input.
    """

    pooling: Literal["mean", "first", "none"] = dataclasses.field(default="mean", metadata={"static": True})
    dense: tuple[Dense, ...] = ()
    normalise: bool = dataclasses.field(default=True, metadata={"static": True})
    max_tokens: int | None = dataclasses.field(default=None, metadata={"static": True})
    prompt: str = dataclasses.field(default="", metadata={"static": True})


def encoded(model: Any, inputs_BS: jax.Array) -> jax.Array:
    """Returns encoded_BSD of any model with an encoder."""
    if isinstance(model, Encoder):
        return model(inputs_BS)
    return model.encode(inputs_BS) if hasattr(model, "encode") else model.encoder(inputs_BS)


@jax.jit
def embed(model: Any, head: SentenceHead, inputs_BS: jax.Array) -> jax.Array:
    """Returns float32 vectors_BE of padded ids; vectors_BSD without pooling, arbitrary on padding."""
    encoded_BSD = encoded(model, inputs_BS)
    if head.pooling == "none":
        return _normalised(encoded_BSD.astype(jnp.float32), head.normalise)
    if head.pooling == "first":
        vectors_BE = encoded_BSD[:, 0].astype(jnp.float32)
    else:
        vectors_BE = mean_of_tokens(encoded_BSD, inputs_BS, config_of(model).pad_id)[:, 0]
    for dense in head.dense:
        vectors_BE = vectors_BE @ jnp.asarray(dense.kernel_DE, jnp.float32)
        if dense.bias_E is not None:
            vectors_BE = vectors_BE + jnp.asarray(dense.bias_E, jnp.float32)[None]
        if dense.activation == "tanh":
            vectors_BE = jnp.tanh(vectors_BE)
    return _normalised(vectors_BE, head.normalise)


def shortened(vectors: np.ndarray, dimensions: int | None, *, normalise: bool) -> np.ndarray:
    """Returns the first `dimensions` numbers of vectors [..., E], divided by their norm again if `normalise`."""
    if dimensions is None or dimensions == vectors.shape[-1]:
        return vectors
    first = vectors[..., :dimensions]
    return first / np.maximum(np.linalg.norm(first, axis=-1, keepdims=True), MIN_NORM) if normalise else first


def _normalised(vectors: jax.Array, normalise: bool) -> jax.Array:
    if not normalise:
        return vectors
    return vectors / jnp.maximum(jnp.linalg.norm(vectors, axis=-1, keepdims=True), MIN_NORM)
