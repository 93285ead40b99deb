"""Tests t5x_lite/optim/adamw_rms.py against float64 NumPy, layer by layer."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from t5x_lite.optim.adamw_rms import adamw_rms

L, D, F = 3, 5, 7
AXES = {"stacked": ("layers", "embed", "mlp"), "plain": ("mlp", "embed"), "vector": ("embed",)}
SHAPES = {"stacked": (L, D, F), "plain": (F, D), "vector": (D,)}
BETA1, BETA2, DECAY = 0.8, 0.95, 0.3


def schedule(step):
    return 0.1 / (step + 1)


def random_tree(seed):
    """Numbers whose size grows a thousandfold from the first layer to the last."""
    rng = np.random.default_rng(seed)
    tree = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in SHAPES.items()}
    tree["stacked"] *= np.array([0.01, 1, 10], np.float32).reshape(L, 1, 1)
    return tree


def run(tx, params, all_grads) -> Any:
    state, update = tx.init(params), jax.jit(tx.update)  # compiled: op by op takes longer
    for grads in all_grads:
        updates, state = update(grads, state, params)
        params = optax.apply_updates(params, updates)
    return params


def numpy_adamw_rms(param, all_grads):
    p, m, v = param.astype(np.float64), 0.0, 0.0
    for step, g in enumerate(grad.astype(np.float64) for grad in all_grads):
        m, v = BETA1 * m + (1 - BETA1) * g, BETA2 * v + (1 - BETA2) * g**2
        m_hat, v_hat = m / (1 - BETA1 ** (step + 1)), v / (1 - BETA2 ** (step + 1))
        scale = max(np.sqrt(np.mean(p**2)), 1e-3)
        p = p - schedule(step) * (scale * m_hat / (np.sqrt(v_hat) + 1e-6) + DECAY * p)
    return p


def test_each_layer_steps_as_adamw_times_its_own_rms_in_float64():
    params, all_grads = random_tree(0), [random_tree(seed) for seed in range(1, 5)]
    got = run(adamw_rms(schedule, AXES, beta1=BETA1, beta2=BETA2, weight_decay=DECAY), params, all_grads)
    for layer in range(L):
        expected = numpy_adamw_rms(params["stacked"][layer], [grads["stacked"][layer] for grads in all_grads])
        np.testing.assert_allclose(got["stacked"][layer], expected, rtol=1e-5, atol=1e-6 * np.abs(expected).max())
    for name in ("plain", "vector"):
        expected = numpy_adamw_rms(params[name], [grads[name] for grads in all_grads])
        np.testing.assert_allclose(got[name], expected, rtol=1e-5, atol=1e-6)


def test_the_first_step_is_the_learning_rate_times_the_rms_against_the_gradients_sign():
    params = {"plain": np.full((F, D), -2.0, np.float32)}
    grads = {"plain": random_tree(0)["plain"]}
    got = run(adamw_rms(lambda _: 0.1, {"plain": AXES["plain"]}), params, [grads])
    np.testing.assert_allclose(got["plain"], -2.0 - 0.2 * np.sign(grads["plain"]), rtol=1e-3)


def test_a_parameter_at_zero_moves_by_a_thousandth_of_the_learning_rate():
    params, grads = {"vector": jnp.zeros(D)}, {"vector": jnp.full(D, -4.0)}
    got = run(adamw_rms(lambda _: 0.5, {"vector": AXES["vector"]}), params, [grads])
    np.testing.assert_allclose(got["vector"], np.full(D, 0.5e-3), rtol=1e-5)
