"""Tests t5x_lite/model/kernels/projection.py"""

import jax
import jax.numpy as jnp
import numpy as np

from t5x_lite.model.kernels.projection import project

AXES = ("embed", "mlp")


def test_a_projection_and_its_gradients_are_those_of_a_product():
    x_BTI, kernel_IO, dy_BTO = (np.random.default_rng(0).normal(size=size) for size in ((2, 3, 5), (5, 7), (2, 3, 7)))
    x_BTI, kernel_IO, dy_BTO = (jnp.asarray(array, jnp.float32) for array in (x_BTI, kernel_IO, dy_BTO))
    actual, expected = (
        jax.vjp(function, x_BTI, kernel_IO)
        for function in (lambda x, kernel: project(x, kernel, AXES), lambda x, kernel: x @ kernel)
    )
    np.testing.assert_allclose(actual[0], expected[0], rtol=1e-5, atol=1e-6)
    for own, reference in zip(actual[1](dy_BTO), expected[1](dy_BTO), strict=True):
        np.testing.assert_allclose(own, reference, rtol=1e-5, atol=1e-6)


def test_the_gradient_of_a_kernel_accumulates_in_float32():
    x_BTI, kernel_IO = jnp.ones((1, 1_000, 1), jnp.bfloat16), jnp.ones((1, 1))
    gradient = jax.grad(lambda kernel_IO: project(x_BTI, kernel_IO, AXES).astype(jnp.float32).sum())(kernel_IO)
    assert gradient.tolist() == [[1_000.0]]  # bfloat16 has no 1,000 ones in a row: it stops at 256
