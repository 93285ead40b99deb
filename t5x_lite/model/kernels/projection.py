# SPDX-License-Identifier: Apache-2.0
"""The product of activations and a kernel, with a custom backward pass.

Shape letters: B batch, T tokens, t = B * T tokens, I input features, O output features.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from t5x_lite.parallel.rules import constrain, gather_fsdp


def project(x_BTI: jax.Array, kernel_IO: jax.Array, axes: tuple[str, str]) -> jax.Array:
    """Returns x @ kernel, shaped [B, T, O], in the dtype of x; the kernel's gradient accumulates in float32.

    On a mesh, the kernel is gathered for this product and again for the gradient of x, never kept whole in between.

    Args:
      x_BTI: activations.
      kernel_IO: a parameter.
      axes: the logical names of the kernel's dimensions.
    """
    product: Any = _project(x_BTI, kernel_IO, axes)
    return product


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _project(x_BTI, kernel_IO, axes):
    return jnp.einsum("BTI,IO->BTO", x_BTI, gather_fsdp(kernel_IO.astype(x_BTI.dtype), *axes))


def _forward(x_BTI, kernel_IO, axes):
    return _project(x_BTI, kernel_IO, axes), (x_BTI, kernel_IO)


def _backward(axes, residuals, dy_BTO):
    # JAX's own rule computes the kernel's gradient transposed. XLA on a CPU then fuses the producer of dy, say the
    # derivative of GELU, into a strided scalar transpose, which takes a sixth of a small model's step.
    x_BTI, kernel_IO = residuals
    dx_BTI = jnp.einsum("BTO,IO->BTI", dy_BTO, gather_fsdp(kernel_IO.astype(dy_BTO.dtype), *axes))
    # Flattened to matrices, because XLA on a CPU materialises the transpose of a [B, T, I] operand.
    x_tI, dy_tO = (array.reshape(-1, array.shape[-1]) for array in (x_BTI, dy_BTO))
    dkernel_IO = jax.lax.dot_general(x_tI, dy_tO, (((0,), (0,)), ((), ())), preferred_element_type=jnp.float32)
    return dx_BTI, constrain(dkernel_IO.astype(kernel_IO.dtype), *axes)


_project.defvjp(_forward, _backward)
