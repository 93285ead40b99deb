# SPDX-License-Identifier: Apache-2.0
"""What every block is made of: weights with axis names, the norm, the feed-forward network, dropout.

Shape letters: B batch, T tokens, D model, F feed-forward.
"""

import functools
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jax.ad_checkpoint import checkpoint_name

from t5x_lite.config import ModelConfig
from t5x_lite.parallel.rules import constrain, gathered

NORM_EPSILON = 1e-6
# A normal cut at two standard deviations is narrower than the whole one by this factor.
TRUNCATED_NORMAL_STDDEV = 0.87962566103423978

ACTIVATIONS = {
    "relu": jax.nn.relu,
    "gelu": lambda x: jax.nn.gelu(x, approximate=True),  # T5 1.1 was trained with the tanh approximation
    "silu": jax.nn.silu,
    "linear": lambda x: x,
}


def weight(
    key: jax.Array,
    shape: tuple[int, ...],
    axes: tuple[str, ...],
    *,
    stddev: float,
    law: Literal["normal", "truncated_normal", "uniform"] = "normal",
) -> nnx.Param:
    """Draws a float32 parameter of the given standard deviation.

    Args:
      key: PRNG key.
      shape: of the parameter.
      axes: a name for each dimension, which `sharding.py` maps to mesh axes.
      stddev: of the values, after truncation where the law truncates.
      law: the family of the distribution.
    """
    return nnx.Param(_draw(key, stddev, shape, law), axes=axes)


# Compiled as one, because a model built outside jit would otherwise compile every operation of every shape.
@functools.partial(jax.jit, static_argnums=(2, 3))
def _draw(key: jax.Array, stddev: float, shape: tuple[int, ...], law: str) -> jax.Array:
    match law:
        case "normal":
            return jax.random.normal(key, shape) * stddev
        case "truncated_normal":
            return jax.random.truncated_normal(key, -2, 2, shape) * (stddev / TRUNCATED_NORMAL_STDDEV)
        case "uniform":
            return jax.random.uniform(key, shape, minval=-1, maxval=1) * (3**0.5 * stddev)
        case _:
            raise ValueError(f"no law of distribution is named {law!r}")


def project(x_BTI: jax.Array, kernel_IO: jax.Array, axes: tuple[str, str]) -> jax.Array:
    """Returns x kernel, shaped [B, T, O], computed in the type of x; the gradient of the kernel adds up in float32.

    On a mesh the kernel is gathered for the product, and again for the gradient of x: it is never kept whole.

    Args:
      x_BTI: activations.
      kernel_IO: a parameter.
      axes: the names of its two dimensions.
    """
    product: Any = _project(x_BTI, kernel_IO, axes)
    return product


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _project(x_BTI, kernel_IO, axes):
    return jnp.einsum("BTI,IO->BTO", x_BTI, gathered(kernel_IO.astype(x_BTI.dtype), *axes))


def _project_forward(x_BTI, kernel_IO, axes):
    return _project(x_BTI, kernel_IO, axes), (x_BTI, kernel_IO)


def _project_backward(axes, residuals, dy_BTO):
    # Left to itself, JAX computes the kernel's gradient transposed, and XLA on a CPU then runs what made dy (the
    # derivative of GELU, say) through a strided, scalar transposition: a sixth of a small model's step.
    x_BTI, kernel_IO = residuals
    dx_BTI = jnp.einsum("BTO,IO->BTI", dy_BTO, gathered(kernel_IO.astype(dy_BTO.dtype), *axes))
    # As a product of matrices: for one of [B, T, I] arrays XLA on a CPU writes x transposed first.
    x_BtI, dy_BtO = (array.reshape(-1, array.shape[-1]) for array in (x_BTI, dy_BTO))
    dkernel_IO = jax.lax.dot_general(x_BtI, dy_BtO, (((0,), (0,)), ((), ())), preferred_element_type=jnp.float32)
    return dx_BTI, constrain(dkernel_IO.astype(kernel_IO.dtype), *axes)


_project.defvjp(_project_forward, _project_backward)

# Element-wise work is cheaper to do again in the backward pass than to keep: a scan would stack every step of it in
# memory, eight arrays [B, T, F] a layer for the gated GELU alone.
recomputed = functools.partial(jax.checkpoint, prevent_cse=False)


def dropout(x: jax.Array, rate: float, key: jax.Array | None, *, shared_dim: int | None = -2) -> jax.Array:
    """Zeroes elements with probability `rate` and scales up the rest; without a key, returns x.

    Args:
      x: any array.
      rate: probability in [0, 1).
      key: PRNG key, or None when not training.
      shared_dim: dimension along which one mask is shared. T5X shares masks over the length, which also makes
        drawing them cheap.
    """
    if key is None or rate == 0:
        return x
    shape = list(x.shape)
    if shared_dim is not None:
        shape[shared_dim] = 1
    keep = jax.random.bernoulli(key, 1 - rate, tuple(shape))
    return jnp.where(keep, x / jnp.asarray(1 - rate, x.dtype), jnp.zeros_like(x))


def residual(x_BTD: jax.Array) -> jax.Array:
    """Returns what goes from block to block, cut over the mesh as it is to be there."""
    return constrain(x_BTD, "batch", "residual_tokens", None)


@jax.custom_vjp
def whole_tokens(x_BTD: jax.Array) -> jax.Array:
    """Returns what a product with a kernel that `tensor` cuts takes."""
    return constrain(x_BTD, "batch", "tokens", None)


# Its gradient is the sum of what the devices along `tensor` have: cut like `residual` when it is summed, each of them
# gets its part alone, which halves what they send.
whole_tokens.defvjp(lambda x_BTD: (whole_tokens(x_BTD), None), lambda _, dx_BTD: (residual(dx_BTD),))


class RMSNorm(nnx.Module):
    """Divides by the root mean square over D, in float32, then scales; no mean, no bias."""

    def __init__(self, emb_dim: int):
        self.scale = nnx.Param(jnp.ones((emb_dim,)), axes=("embed",))

    def __call__(self, x_BTD: jax.Array) -> jax.Array:
        return _normalized(x_BTD, self.scale[...])


@recomputed
def _normalized(x_BTD: jax.Array, scale_D: jax.Array) -> jax.Array:
    x32_BTD = x_BTD.astype(jnp.float32)
    mean_square_BT1 = jnp.mean(jnp.square(x32_BTD), axis=-1, keepdims=True)
    normed_BTD = (x32_BTD * jax.lax.rsqrt(mean_square_BT1 + NORM_EPSILON)).astype(x_BTD.dtype)
    return normed_BTD * scale_D.astype(x_BTD.dtype)[None, None]


class MLP(nnx.Module):
    """`wo(act(wi x))` in T5 1.0; `wo(act(wi_0 x) * wi_1 x)` in T5 1.1. No biases."""

    def __init__(self, cfg: ModelConfig, *, rngs: nnx.Rngs):
        D, F = cfg.emb_dim, cfg.mlp_dim
        self.cfg = cfg

        def wi() -> nnx.Param:
            return weight(rngs.params(), (D, F), ("embed", "mlp"), stddev=D**-0.5, law="truncated_normal")

        if len(cfg.mlp_activations) == 1:
            self.wi = wi()
        else:
            self.wi_0, self.wi_1 = wi(), wi()
        self.wo = weight(rngs.params(), (F, D), ("mlp", "embed"), stddev=F**-0.5, law="truncated_normal")

    def __call__(self, x_BTD: jax.Array, dropout_key: jax.Array | None = None) -> jax.Array:
        kernels = (self.wi,) if len(self.cfg.mlp_activations) == 1 else (self.wi_0, self.wi_1)
        x_BTD = whole_tokens(x_BTD)
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
