# SPDX-License-Identifier: Apache-2.0
"""Building blocks of all layers: parameters, RMSNorm, the feed-forward network, dropout and sharding constraints.

Shape letters: B batch, T tokens, D model, F feed-forward.
"""

import functools
from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jax.ad_checkpoint import checkpoint_name

from t5x_lite.config import ModelConfig
from t5x_lite.model.kernels.projection import project
from t5x_lite.parallel.rules import constrain

TRUNCATED_NORMAL_STDDEV = 0.87962566103423978  # of a standard normal truncated at two standard deviations

ACTIVATIONS = {
    "relu": jax.nn.relu,
    "gelu": lambda x: jax.nn.gelu(x, approximate=True),  # T5 1.1 was trained with the tanh approximation
    "gelu_exact": lambda x: jax.nn.gelu(x, approximate=False),
    "silu": jax.nn.silu,
    "linear": lambda x: x,
}


def weight(
    key: jax.Array,
    shape: tuple[int, ...],
    axes: tuple[str, ...],
    *,
    stddev: float,
    distribution: Literal["normal", "truncated_normal", "uniform"] = "normal",
) -> nnx.Param:
    """Returns a randomly initialised float32 parameter.

    `axes` are the logical names of its dimensions, which `parallel/rules.py` maps to mesh axes; `stddev` is the
    standard deviation after truncation.
    """
    return nnx.Param(_draw(key, stddev, shape, distribution), axes=axes)


# Jitted, because a model built outside of jit would otherwise compile every operation for every shape.
@functools.partial(jax.jit, static_argnums=(2, 3))
def _draw(key: jax.Array, stddev: float, shape: tuple[int, ...], distribution: str) -> jax.Array:
    match distribution:
        case "normal":
            return jax.random.normal(key, shape) * stddev
        case "truncated_normal":
            return jax.random.truncated_normal(key, -2, 2, shape) * (stddev / TRUNCATED_NORMAL_STDDEV)
        case "uniform":
            return jax.random.uniform(key, shape, minval=-1, maxval=1) * (3**0.5 * stddev)
        case _:
            raise ValueError(f"unknown distribution {distribution!r}: use normal, truncated_normal or uniform")


# Rematerialises element-wise work, which is cheaper than storing it: a scan stacks all intermediates, eight [B, T, F]
# arrays per layer for gated GELU alone.
recomputed = functools.partial(jax.checkpoint, prevent_cse=False)


def dropout(x: jax.Array, rate: float, key: jax.Array | None, *, shared_dim: int | None = -2) -> jax.Array:
    """Zeroes elements with probability `rate` and scales up the rest; returns x if the key is None.

    Elements along `shared_dim`, if any, share a mask; by default along the length, as in T5X, which is also cheaper.
    """
    if key is None or rate == 0:
        return x
    shape = list(x.shape)
    if shared_dim is not None:
        shape[shared_dim] = 1
    keep = jax.random.bernoulli(key, 1 - rate, tuple(shape))
    return jnp.where(keep, x / jnp.asarray(1 - rate, x.dtype), jnp.zeros_like(x))


def shard_residual(x_BTD: jax.Array) -> jax.Array:
    """Shards the residual stream and its summands over `context` and `tensor` along the tokens."""
    return constrain(x_BTD, "batch", "residual_tokens", None)


@jax.custom_vjp
def shard_tokens(x_BTD: jax.Array) -> jax.Array:
    """Gathers the tokens over `tensor`, for a product with a kernel sharded over `tensor`."""
    return constrain(x_BTD, "batch", "tokens", None)


# The gradient is a sum over `tensor`. Sharding it like the residual stream turns its all-reduce into a reduce-scatter,
# which halves the traffic.
shard_tokens.defvjp(lambda x_BTD: (shard_tokens(x_BTD), None), lambda _, dx_BTD: (shard_residual(dx_BTD),))


class RMSNorm(nnx.Module):
    """Divides by the root mean square over D, in float32, then scales; no mean subtraction, no bias."""

    def __init__(self, emb_dim: int, epsilon: float = 1e-6):
        self.epsilon = epsilon
        self.scale = nnx.Param(jnp.ones((emb_dim,)), axes=("embed",))

    def __call__(self, x_BTD: jax.Array) -> jax.Array:
        return _normalized(x_BTD, self.scale[...], self.epsilon)


@functools.partial(recomputed, static_argnums=2)
def _normalized(x_BTD: jax.Array, scale_D: jax.Array, epsilon: float) -> jax.Array:
    x32_BTD = x_BTD.astype(jnp.float32)
    mean_square_BT1 = jnp.mean(jnp.square(x32_BTD), axis=-1, keepdims=True)
    normed_BTD = (x32_BTD * jax.lax.rsqrt(mean_square_BT1 + epsilon)).astype(x_BTD.dtype)
    return normed_BTD * scale_D.astype(x_BTD.dtype)[None, None]


class MLP(nnx.Module):
    """The feed-forward network: `wo(act(wi x))` in T5 1.0, `wo(act(wi_0 x) * wi_1 x)` in T5 1.1; no biases."""

    def __init__(self, cfg: ModelConfig, *, rngs: nnx.Rngs):
        D, F = cfg.emb_dim, cfg.mlp_dim
        self.cfg = cfg

        def wi() -> nnx.Param:
            return weight(rngs.params(), (D, F), ("embed", "mlp"), stddev=D**-0.5, distribution="truncated_normal")

        if len(cfg.mlp_activations) == 1:
            self.wi = wi()
        else:
            self.wi_0, self.wi_1 = wi(), wi()
        self.wo = weight(rngs.params(), (F, D), ("mlp", "embed"), stddev=F**-0.5, distribution="truncated_normal")

    def __call__(self, x_BTD: jax.Array, dropout_key: jax.Array | None = None) -> jax.Array:
        kernels = (self.wi,) if len(self.cfg.mlp_activations) == 1 else (self.wi_0, self.wi_1)
        x_BTD = shard_tokens(x_BTD)
        projected = [
            checkpoint_name(
                constrain(project(x_BTD, kernel[...], ("embed", "mlp")), "batch", "tokens", "mlp"), f"mlp_wi_{index}"
            )
            for index, kernel in enumerate(kernels)
        ]
        hidden_BTF = dropout(self._activated(projected), self.cfg.dropout_rate, dropout_key)
        return project(hidden_BTF, self.wo[...], ("mlp", "embed"))

    def _activated(self, projected: list[jax.Array]) -> jax.Array:
        @recomputed
        def product(projected):
            activated = [ACTIVATIONS[name](x) for name, x in zip(self.cfg.mlp_activations, projected, strict=True)]
            return functools.reduce(jnp.multiply, activated)

        return product(projected)
