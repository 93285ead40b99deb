"""Tests t5x_lite/optim/adafactor.py against T5X's published steps, optax on plain matrices, and float64 NumPy."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from t5x_lite.optim.adafactor import adafactor, factored_axes

L, D, N, H, F, V, BUCKETS = 3, 10, 2, 7, 12, 33, 5
MIN_SIZE = 8  # D, F, V and N * H are factored, N, H and BUCKETS are not
MODEL = {
    "embedding": ((V, D), ("vocab", "embed")),
    "logits": ((D, V), ("embed", "vocab")),
    "query": ((L, D, N, H), ("layers", "embed", "heads", "head_dim")),
    "out": ((L, N, H, D), ("layers", "heads", "head_dim", "embed")),
    "wi": ((L, D, F), ("layers", "embed", "mlp")),
    "wo": ((L, F, D), ("layers", "mlp", "embed")),
    "norm": ((L, D), ("layers", "embed")),
    "final_norm": ((D,), ("embed",)),
    "bias": ((N, BUCKETS), ("heads", "buckets")),
    "layer_bias": ((L, N, BUCKETS), ("layers", "heads", "buckets")),
}
SHAPES = {name: shape for name, (shape, _) in MODEL.items()}
AXES = {name: axes for name, (_, axes) in MODEL.items()}


def schedule(step):
    return 0.1 / (step + 1)


def random_tree(seed, shapes=SHAPES):
    """Numbers whose size grows a thousandfold from the first layer to the last."""
    rng = np.random.default_rng(seed)
    return {
        name: (rng.standard_normal(shape) * np.logspace(-2, 1, shape[0]).reshape(-1, *[1] * (len(shape) - 1))).astype(
            np.float32
        )
        for name, shape in shapes.items()
    }


def growing_grads(steps, shapes=SHAPES):
    """Gradients that grow tenfold a step, so that updates are clipped."""
    return [
        jax.tree.map(lambda g, step=step: 1e-3 * 10**step * g, random_tree(1 + step, shapes)) for step in range(steps)
    ]


def run(tx, params, all_grads) -> tuple[Any, Any]:
    state = tx.init(params)
    for grads in all_grads:
        updates, state = tx.update(grads, state, params)
        params = optax.apply_updates(params, updates)
    return params, state


def layer_matrices(name, tree):
    """Returns a parameter's layers, heads and their dimensions joined as T5X joins them."""
    array = np.asarray(tree[name])
    layers = array if "layers" in AXES[name] else array[None]
    return layers.reshape(len(layers), *{"query": (D, N * H), "out": (N * H, D)}.get(name, layers.shape[1:]))


def step_1(tx, slots):
    """Returns the parameter and the state after T5X's test case: a step from 1 by a gradient of 1, both shaped (3, 2)."""
    ones = {"x": jnp.ones((3, 2))}
    state = optax.tree.set(tx.init(ones), count=jnp.int32(1), **{slot: {"x": value} for slot, value in slots.items()})
    updates, state = tx.update(ones, state, ones)
    return np.asarray(ones["x"] + updates["x"]), state


def slots(state: Any, name):
    trees: Any = {slot: optax.tree.get(state, slot) for slot in ("v_row", "v_col", "v")}
    return {slot: tree[name] for slot, tree in trees.items()}


def numpy_adafactor(param, all_grads, *, beta1=None, weight_decay=0.0):
    """Adafactor in float64 on a single vector or matrix, from the paper's algorithms 4 and 5."""
    p, m = param.astype(np.float64), 0.0
    factored = p.ndim == 2 and min(p.shape) >= MIN_SIZE
    row, col, full = 0.0, 0.0, 0.0
    for step, g in enumerate(grad.astype(np.float64) for grad in all_grads):
        beta2 = 1 - (step + 1) ** -0.8
        square = g**2 + 1e-30
        row = beta2 * row + (1 - beta2) * square.sum(-1) if factored else row
        col = beta2 * col + (1 - beta2) * square.sum(0) if factored else col
        full = np.outer(row, col) / np.sum(row) if factored else beta2 * full + (1 - beta2) * square
        u = g / np.sqrt(full)
        u = u / max(1.0, np.sqrt(np.mean(u**2)))
        u = schedule(step) * max(1e-3, np.sqrt(np.mean(p**2))) * u
        m = u if beta1 is None else beta1 * m + (1 - beta1) * u
        p = (1 - weight_decay) * p - m
    return p


@pytest.mark.parametrize("options", [{}, {"beta1": 0.9, "weight_decay": 0.02}], ids=["plain", "momentum_and_decay"])
@pytest.mark.parametrize("name", MODEL)
def test_every_parameter_of_the_model_steps_as_its_layers_matrices_do_in_float64(name, options):
    shapes, axes = {name: SHAPES[name]}, {name: AXES[name]}
    params, all_grads = random_tree(0, shapes), growing_grads(4, shapes)
    got, _ = run(adafactor(schedule, axes, min_dim_size_to_factor=MIN_SIZE, **options), params, all_grads)

    matrices = zip(layer_matrices(name, params), *(layer_matrices(name, grads) for grads in all_grads), strict=True)
    expected = [numpy_adafactor(param, grads, **options) for param, *grads in matrices]
    for matrix, expected_matrix in zip(layer_matrices(name, got), expected, strict=True):
        np.testing.assert_allclose(matrix, expected_matrix, rtol=1e-5, atol=2e-6 * np.abs(expected_matrix).max())


@pytest.mark.parametrize("options", [{}, {"beta1": 0.9, "weight_decay": 0.02}], ids=["plain", "momentum_and_decay"])
def test_on_plain_matrices_and_vectors_it_is_optax_adafactor(options):
    names = ("embedding", "logits", "final_norm", "bias")
    shapes, axes = {name: SHAPES[name] for name in names}, {name: AXES[name] for name in names}
    theirs = optax.adafactor(
        schedule,
        min_dim_size_to_factor=MIN_SIZE,
        momentum=options.get("beta1"),
        weight_decay_rate=options.get("weight_decay"),
    )
    ours = adafactor(schedule, axes, min_dim_size_to_factor=MIN_SIZE, **options)
    params, all_grads = random_tree(0, shapes), growing_grads(4, shapes)
    jax.tree.map(
        lambda got, expected: np.testing.assert_allclose(got, expected, rtol=2e-6, atol=1e-6),
        run(ours, params, all_grads)[0],
        run(theirs, params, all_grads)[0],
    )


def test_a_factored_step_has_the_numbers_t5x_publishes():
    tx = adafactor(lambda _: 0.1, {"x": ("mlp", "embed")}, min_dim_size_to_factor=0)
    param, state = step_1(tx, {"v_row": jnp.full(2, 0.9), "v_col": jnp.full(3, 0.1)})
    np.testing.assert_allclose(slots(state, "x")["v_row"], np.full(2, 0.9574349), rtol=1e-6)
    np.testing.assert_allclose(slots(state, "x")["v_col"], np.full(3, 0.6169143), rtol=1e-6)
    np.testing.assert_allclose(param, np.full((3, 2), 0.9), rtol=1e-6)


def test_an_unfactored_step_with_momentum_has_the_numbers_t5x_publishes():
    tx = adafactor(lambda _: 0.1, {"x": ("mlp", "embed")}, beta1=0.0, min_dim_size_to_factor=32)
    param, state = step_1(tx, {"v": jnp.full((3, 2), 0.5)})
    np.testing.assert_allclose(slots(state, "x")["v"], np.full((3, 2), 0.787174), rtol=1e-6)
    np.testing.assert_allclose(state[4].ema["x"], np.full((3, 2), 0.1), rtol=1e-6)
    np.testing.assert_allclose(param, np.full((3, 2), 0.9), rtol=1e-6)


def test_a_step_with_clipped_gradients_has_the_numbers_t5x_publishes():
    core = adafactor(lambda _: 0.1, {"x": ("mlp", "embed")}, min_dim_size_to_factor=0)
    tx = optax.chain(optax.clip_by_global_norm(1.0), core)
    param, state = step_1(tx, {"v_row": jnp.full(2, 0.9), "v_col": jnp.full(3, 0.1)})
    np.testing.assert_allclose(slots(state, "x")["v_row"], np.full(2, 0.478811), rtol=1e-6)
    np.testing.assert_allclose(slots(state, "x")["v_col"], np.full(3, 0.13829), rtol=1e-5)  # published to 5 digits
    np.testing.assert_allclose(param, np.full((3, 2), 0.9), rtol=1e-6)


def test_the_second_moment_forgets_all_at_step_0_and_keeps_a_share_of_0_425651_at_step_1():
    axes = {"x": ("embed",)}
    grads = {"x": jnp.array([2.0, 3.0])}
    _, state = run(adafactor(schedule, axes), grads, [grads, jax.tree.map(jnp.zeros_like, grads)])
    np.testing.assert_allclose(slots(state, "x")["v"], 0.425651 * np.array([4.0, 9.0]), rtol=1e-6)


@pytest.mark.parametrize(
    ("shape", "axes", "row", "col"),
    [
        ((128, 129), ("embed", "mlp"), (128,), (129,)),
        ((129, 128), ("vocab", "embed"), (128,), (129,)),
        ((127, 300), ("embed", "mlp"), None, None),
        ((300, 127), ("embed", "mlp"), None, None),
        ((L, 130, 2, 64), ("layers", "embed", "heads", "head_dim"), (L, 130), (L, 2, 64)),
        ((L, 2, 64, 130), ("layers", "heads", "head_dim", "embed"), (L, 130), (L, 2, 64)),
        ((L, 130, 2, 63), ("layers", "embed", "heads", "head_dim"), None, None),
        ((200, 130), ("layers", "embed"), None, None),
        ((200,), ("embed",), None, None),
        ((200, 32), ("heads", "buckets"), None, None),
        ((200, 2, 32), ("layers", "heads", "buckets"), None, None),
        ((129, 128), ("heads", "buckets"), (129,), (128,)),
    ],
)
def test_a_matrix_is_factored_where_both_its_sides_are_128_or_more(shape, axes, row, col):
    state = adafactor(schedule, {"x": axes}).init({"x": jnp.zeros(shape)})
    got = tuple(slots(state, "x")[slot].shape for slot in ("v_row", "v_col", "v"))
    assert got == ((row, col, (1,)) if row else ((1,), (1,), shape))
    assert sum(leaf.size for leaf in jax.tree.leaves(state)) < np.prod(shape) + 2_000  # no momentum is kept


@pytest.mark.parametrize(
    ("axes", "row", "col"),
    [
        (("vocab", "embed"), ("embed",), ("vocab",)),
        (AXES["query"], ("layers", "embed"), ("layers", "heads", "head_dim")),
        (AXES["out"], ("layers", "embed"), ("layers", "heads", "head_dim")),
        (("heads", "buckets"), ("heads",), ("buckets",)),
    ],
)
def test_the_factors_keep_the_names_of_the_dimensions_they_keep(axes, row, col):
    assert factored_axes(axes) == (row, col)


def test_weight_decay_is_a_share_of_the_parameter_whatever_the_learning_rate():
    params = random_tree(0)
    grads = jax.tree.map(np.zeros_like, params)
    got, _ = run(adafactor(lambda _: 1e-9, AXES, weight_decay=0.25), params, [grads])
    jax.tree.map(lambda new, old: np.testing.assert_allclose(new, 0.75 * old, rtol=1e-6), got, params)


def test_a_parameter_at_zero_moves_by_a_thousandth_of_the_learning_rate():
    params = {"norm": jnp.zeros((L, D))}
    got, _ = run(adafactor(lambda _: 0.5, {"norm": AXES["norm"]}), params, [{"norm": jnp.full((L, D), -4.0)}])
    np.testing.assert_allclose(got["norm"], np.full((L, D), 0.5e-3), rtol=1e-6)


def test_without_the_parameter_scale_the_learning_rate_is_absolute():
    params, grads = {"norm": jnp.full((L, D), 100.0)}, {"norm": jnp.full((L, D), -4.0)}
    tx = adafactor(lambda _: 0.5, {"norm": AXES["norm"]}, multiply_by_parameter_scale=False)
    np.testing.assert_allclose(run(tx, params, [grads])[0]["norm"], np.full((L, D), 100.5), rtol=1e-6)


def test_a_gradient_of_zero_changes_nothing_and_bfloat16_gradients_give_float32_statistics():
    params = random_tree(0)
    tx = adafactor(schedule, AXES, min_dim_size_to_factor=MIN_SIZE, beta1=0.9)
    got, state = run(tx, params, [jax.tree.map(lambda p: jnp.zeros(p.shape, jnp.bfloat16), params)])
    jax.tree.map(np.testing.assert_array_equal, got, params)
    assert {leaf.dtype.name for leaf in jax.tree.leaves(state)} == {"float32", "int32"}


def test_a_jitted_step_that_donates_its_memory_is_the_eager_one():
    params, grads = random_tree(0), random_tree(1)
    tx = adafactor(schedule, AXES, beta1=0.9, min_dim_size_to_factor=MIN_SIZE)
    expected = tx.update(grads, tx.init(params), params)
    got = jax.jit(tx.update, donate_argnums=1)(grads, tx.init(params), params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-9), got, expected)
