"""Tests t5x_lite/optim/adafactor.py against T5X's source and published steps, optax on plain matrices, and NumPy."""

import functools
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from t5x_lite.optim.adafactor import Rules, adafactor, factored_axes

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


def spaced(values):
    """Evenly spaced numbers of an array."""
    return np.ravel(values)[:: max(1, values.size // 61)]


def run(tx, params, all_grads) -> tuple[Any, Any]:
    state, update = tx.init(params), jax.jit(tx.update)  # compiled: op by op takes longer
    for grads in all_grads:
        updates, state = update(grads, state, params)
        params = optax.apply_updates(params, updates)
    return params, state


def layer_matrices(name, tree):
    """Returns a parameter's layers, heads and their dimensions joined as T5X joins them."""
    array = np.asarray(tree[name])
    layers = array if "layers" in AXES[name] else array[None]
    return layers.reshape(len(layers), *{"query": (D, N * H), "out": (N * H, D)}.get(name, layers.shape[1:]))


def step_1(tx, slots) -> tuple[Any, Any]:
    """Returns the parameter and the state after step 1 of T5X's test: parameter and gradient are 1, shaped (3, 2)."""
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


@functools.cache
def model_after_4_steps(**options):
    tx = adafactor(schedule, AXES, rules=Rules(min_dim_size_to_factor=MIN_SIZE), **options)
    return run(tx, random_tree(0), growing_grads(4))[0]


@pytest.mark.parametrize("options", [{}, {"beta1": 0.9, "weight_decay": 0.02}], ids=["plain", "momentum_and_decay"])
@pytest.mark.parametrize("name", MODEL)
def test_every_parameter_of_the_model_steps_as_its_layers_matrices_do_in_float64(name, options):
    trees = random_tree(0), *growing_grads(4)
    layers = zip(*(layer_matrices(name, tree) for tree in trees), strict=True)
    got = layer_matrices(name, model_after_4_steps(**options))
    for matrix, (param, *grads) in zip(got, layers, strict=True):
        expected = numpy_adafactor(param, grads, **options)
        np.testing.assert_allclose(matrix, expected, rtol=1e-5, atol=2e-6 * np.abs(expected).max())


# What t5x/adafactor.py at commit cc342d4, with `standard_logical_factor_rules`, makes of the same parameters and
# gradients in 5 steps: evenly spaced numbers of the result, by parameter and options. See
# scripts/make_golden_adafactor.py.
T5X = np.load(pathlib.Path(__file__).parent / "golden" / "adafactor.npz")
LOGICAL = {
    "wi": ((L, 64, 256), ("layers", "embed", "mlp")),
    "wo": ((L, 256, 64), ("layers", "mlp", "embed")),
    "query": ((L, 64, 5, 48), ("layers", "embed", "heads", "head_dim")),
    "out": ((2, 5, 7, 64), ("layers", "heads", "head_dim", "embed")),
    "one_layer": ((11, 3, 4), ("embed", "heads", "head_dim")),
    "layer_bias": ((L, 2, 32), ("layers", "heads", "buckets")),
    "norm": ((L, 10), ("layers", "embed")),
}
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "unscaled": {"rules": Rules(multiply_by_parameter_scale=False)},
    "momentum": {"beta1": 0.9, "weight_decay": 0.02},
}


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("name", LOGICAL)
def test_small_stacked_matrices_end_where_t5x_takes_them_by_its_logical_rules(name, options):
    shape, axes = LOGICAL[name]
    tx = adafactor(schedule, {"x": axes}, **OPTIONS[options])
    params, _ = run(tx, random_tree(0, {"x": shape}), growing_grads(5, {"x": shape}))
    got, expected = spaced(params["x"]), T5X[f"{name}/{options}"]
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())


MAPPED = {"wi": (L, 64, 256), "wo": (L, 256, 64), "embedding": (40, 30)}


def test_parameters_with_their_own_options_end_where_t5x_takes_them_by_its_maps():
    axes = {name: LOGICAL[name][1] for name in ("wi", "wo")} | {"embedding": ("vocab", "embed")}
    rules = Rules({"bed": "none", ".*": "stacked"}, multiply_by_parameter_scale={"bed": False, ".*": True})
    params, _ = run(adafactor(schedule, axes, rules=rules), random_tree(0, MAPPED), growing_grads(5, MAPPED))
    for name, got in params.items():
        expected = T5X[f"map/{name}"]
        np.testing.assert_allclose(spaced(got), expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())


@pytest.mark.parametrize("rules", [Rules("large"), Rules("none")])
def test_other_rules_keep_the_second_moment_of_a_small_stacked_matrix_in_full(rules):
    params, grads = random_tree(0, {"x": (L, 10, 12)}), growing_grads(5, {"x": (L, 10, 12)})
    got, state = run(adafactor(schedule, {"x": ("layers", "embed", "mlp")}, rules=rules), params, grads)
    assert slots(state, "x")["v"].shape == (L, 10, 12)
    for layer in range(L):
        p, v = params["x"][layer].astype(np.float64), 0.0
        for step, g in enumerate(grad["x"][layer].astype(np.float64) for grad in grads):
            decay = 1 - (step + 1) ** -0.8
            v = decay * v + (1 - decay) * (g * g + 1e-30)
            u = g / np.sqrt(v)
            p = p - schedule(step) * max(1e-3, np.sqrt(np.mean(p * p))) * u / max(1.0, np.sqrt(np.mean(u * u)))
        np.testing.assert_allclose(got["x"][layer], p, rtol=1e-5, atol=2e-6 * np.abs(p).max())


def test_a_state_kept_in_full_goes_on_in_full_whatever_the_rules_of_new_states():
    axes, params = {"x": ("layers", "embed", "mlp")}, random_tree(0, {"x": (L, 6, 5)})
    grads = growing_grads(3, {"x": (L, 6, 5)})
    old, new = adafactor(schedule, axes, rules=Rules("large")), adafactor(schedule, axes)
    state = old.init(params)
    for grad in grads:
        expected, next_state = old.update(grad, state, params)
        got, same_state = new.update(grad, state, params)
        jax.tree.map(np.testing.assert_array_equal, (got, same_state), (expected, next_state))
        state = next_state


def test_on_plain_matrices_and_vectors_it_is_optax_adafactor():
    names = ("embedding", "final_norm", "bias")
    shapes, axes = {name: SHAPES[name] for name in names}, {name: AXES[name] for name in names}
    ours = adafactor(schedule, axes, beta1=0.9, weight_decay=0.02, rules=Rules(min_dim_size_to_factor=MIN_SIZE))
    theirs = optax.adafactor(schedule, MIN_SIZE, momentum=0.9, weight_decay_rate=0.02)
    params, all_grads = random_tree(0, shapes), growing_grads(4, shapes)
    jax.tree.map(
        lambda got, expected: np.testing.assert_allclose(got, expected, rtol=2e-6, atol=1e-6),
        run(ours, params, all_grads)[0],
        run(theirs, params, all_grads)[0],
    )


def test_a_factored_step_has_the_numbers_t5x_publishes():
    tx = adafactor(lambda _: 0.1, {"x": ("mlp", "embed")}, rules=Rules(min_dim_size_to_factor=0))
    param, state = step_1(tx, {"v_row": jnp.full(2, 0.9), "v_col": jnp.full(3, 0.1)})
    np.testing.assert_allclose(slots(state, "x")["v_row"], np.full(2, 0.9574349), rtol=1e-6)
    np.testing.assert_allclose(slots(state, "x")["v_col"], np.full(3, 0.6169143), rtol=1e-6)
    np.testing.assert_allclose(param, np.full((3, 2), 0.9), rtol=1e-6)


def test_an_unfactored_step_with_momentum_has_the_numbers_t5x_publishes():
    tx = adafactor(lambda _: 0.1, {"x": ("mlp", "embed")}, beta1=0.0, rules=Rules(min_dim_size_to_factor=32))
    param, state = step_1(tx, {"v": jnp.full((3, 2), 0.5)})
    np.testing.assert_allclose(slots(state, "x")["v"], np.full((3, 2), 0.787174), rtol=1e-6)
    np.testing.assert_allclose(state[4].ema["x"], np.full((3, 2), 0.1), rtol=1e-6)
    np.testing.assert_allclose(param, np.full((3, 2), 0.9), rtol=1e-6)


def test_a_step_with_clipped_gradients_has_the_numbers_t5x_publishes():
    core = adafactor(lambda _: 0.1, {"x": ("mlp", "embed")}, rules=Rules(min_dim_size_to_factor=0))
    tx = optax.chain(optax.clip_by_global_norm(1.0), core)
    param, state = step_1(tx, {"v_row": jnp.full(2, 0.9), "v_col": jnp.full(3, 0.1)})
    np.testing.assert_allclose(slots(state, "x")["v_row"], np.full(2, 0.478811), rtol=1e-6)
    np.testing.assert_allclose(slots(state, "x")["v_col"], np.full(3, 0.13829), rtol=1e-5)  # published to 5 digits
    np.testing.assert_allclose(param, np.full((3, 2), 0.9), rtol=1e-6)


def test_the_second_moments_decay_is_0_at_step_0_and_0_425651_at_step_1():
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
        ((L, 64, 256), ("layers", "embed", "mlp"), (L, 64), (L, 256)),
        ((1, 5, 3), ("layers", "mlp", "embed"), (1, 3), (1, 5)),
        ((L, 130, 2, 63), ("layers", "embed", "heads", "head_dim"), (L, 130), (L, 2, 63)),
        ((6, 2, 7), ("embed", "heads", "head_dim"), (6,), (2, 7)),
        ((200, 130), ("layers", "embed"), None, None),
        ((200,), ("embed",), None, None),
        ((200, 32), ("heads", "buckets"), None, None),
        ((200, 2, 32), ("layers", "heads", "buckets"), None, None),
        ((129, 128), ("heads", "buckets"), (129,), (128,)),
        ((L, 129, 128), ("layers", "heads", "buckets"), None, None),
    ],
)
def test_a_matrix_is_factored_if_it_is_stacked_or_split_or_both_its_sides_are_128_or_more(shape, axes, row, col):
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
    params, grads = {"norm": random_tree(0)["norm"]}, {"norm": np.zeros((L, D), np.float32)}
    got, _ = run(adafactor(lambda _: 1e-9, {"norm": AXES["norm"]}, weight_decay=0.25), params, [grads])
    np.testing.assert_allclose(got["norm"], 0.75 * params["norm"], rtol=1e-6)


def test_a_parameter_at_zero_moves_by_a_thousandth_of_the_learning_rate():
    params = {"norm": jnp.zeros((L, D))}
    got, _ = run(adafactor(lambda _: 0.5, {"norm": AXES["norm"]}), params, [{"norm": jnp.full((L, D), -4.0)}])
    np.testing.assert_allclose(got["norm"], np.full((L, D), 0.5e-3), rtol=1e-6)


def test_a_gradient_of_zero_changes_nothing():
    params, axes = {"out": random_tree(0)["out"]}, {"out": AXES["out"]}
    got, _ = run(
        adafactor(schedule, axes, rules=Rules(min_dim_size_to_factor=MIN_SIZE)),
        params,
        [{"out": np.zeros((L, N, H, D))}],
    )
    np.testing.assert_array_equal(got["out"], params["out"])


def test_bfloat16_gradients_are_squared_and_averaged_in_float32():
    params, axes = {"out": random_tree(0)["out"]}, {"out": AXES["out"]}
    grads = {"out": jnp.asarray(random_tree(1)["out"], jnp.bfloat16)}
    tx = adafactor(schedule, axes, beta1=0.9, rules=Rules(min_dim_size_to_factor=MIN_SIZE))
    got = run(tx, params, [grads])
    assert {leaf.dtype.name for leaf in jax.tree.leaves(got)} == {"float32", "int32"}
    expected = run(tx, params, [{"out": grads["out"].astype(jnp.float32)}])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), got, expected)


def test_a_vector_is_never_factored():
    state = adafactor(schedule, {"x": ("layers", "embed")}, rules=Rules(min_dim_size_to_factor=0)).init(
        {"x": jnp.zeros((L, D))}
    )
    assert slots(state, "x")["v"].shape == (L, D)


def test_stacked_parameters_step_exactly_as_the_same_layers_unstacked():
    stacked = {name: axes for name, axes in AXES.items() if axes[0] == "layers"}
    params, *grads = ({name: random_tree(seed)[name] for name in stacked} for seed in range(4))
    together, _ = run(
        adafactor(schedule, stacked, beta1=0.9, rules=Rules(min_dim_size_to_factor=MIN_SIZE)), params, grads
    )
    single = {name: axes[1:] for name, axes in stacked.items()}
    alone = [
        run(
            adafactor(schedule, single, beta1=0.9, rules=Rules(min_dim_size_to_factor=MIN_SIZE)),
            {name: array[layer] for name, array in params.items()},
            [{name: array[layer] for name, array in grad.items()} for grad in grads],
        )[0]
        for layer in range(L)
    ]
    for name in stacked:
        np.testing.assert_array_equal(together[name], np.stack([one[name] for one in alone]))
