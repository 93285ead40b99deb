"""Tests t5x_lite/optim/builder.py on a module with every kind of T5 parameter."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from t5x_lite.config import OptimizerConfig
from t5x_lite.optim.adafactor import adafactor
from t5x_lite.optim.adamw_rms import adamw_rms
from t5x_lite.optim.builder import make_optimizer, state_axes
from t5x_lite.optim.schedules import make_schedule

L, D, N, H, F, V, BUCKETS, NUM_STEPS = 3, 128, 2, 64, 128, 131, 5, 100  # D, F and N * H are equal: matrices are square
CONFIGS = [
    OptimizerConfig(name=name, beta1=beta1, clip_norm=clip_norm)
    for name, beta1, clip_norm in itertools.product(("adafactor", "adamw_rms", "adamw"), (None, 0.8), (None, 1.0))
]


class Model(nnx.Module):
    """Parameters only, each knowing its axis names."""

    def __init__(self):
        for name, shape, axes in (
            ("embedding", (V, D), ("vocab", "embed")),
            ("query", (L, D, N, H), ("layers", "embed", "heads", "head_dim")),
            ("out", (L, N, H, D), ("layers", "heads", "head_dim", "embed")),
            ("wi", (L, D, F), ("layers", "embed", "mlp")),
            ("wo", (L, F, D), ("layers", "mlp", "embed")),
            ("norm", (L, D), ("layers", "embed")),
            ("final_norm", (D,), ("embed",)),
            ("bias", (N, BUCKETS), ("heads", "buckets")),
        ):
            values = np.random.default_rng(len(name)).standard_normal(shape)
            setattr(self, name, nnx.Param(jnp.asarray(values, jnp.float32), axes=axes))


MODEL: Any = Model()
AXES = jax.tree.structure(MODEL).unflatten(
    [param.axes for param in jax.tree.leaves(MODEL, is_leaf=lambda node: isinstance(node, nnx.Param))]
)
# For steps, two parameters of one shape: operations compile once for both.
PARAMS: Any = {"one": jnp.linspace(1, 2, 15).reshape(3, 5), "two": jnp.linspace(-9, -4, 15).reshape(3, 5)}
PARAMS_AXES = {"one": ("layers", "embed"), "two": ("embed", "mlp")}
GRADS: Any = jax.tree.map(jnp.sin, PARAMS)


def by_path(arrays, names):
    """Returns {path: (shape, axis names)}, such as {"0/v_row/query/value": ((L, D), ("layers", "embed"))}."""
    names = jax.tree.structure(arrays).flatten_up_to(names)
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): (array.shape, array_names)
        for (path, array), array_names in zip(jax.tree.leaves_with_path(arrays), names, strict=True)
    }


def state_by_path(cfg):
    state = jax.eval_shape(make_optimizer(cfg, NUM_STEPS, AXES).init, MODEL)
    return by_path(state, state_axes(state, MODEL, AXES))


def step(cfg, num_steps=1) -> tuple[Any, Any]:
    """Returns the updates of the last step and the state after it."""
    return step_with(make_optimizer(cfg, NUM_STEPS, PARAMS_AXES), num_steps)


def step_with(tx, num_steps=1) -> tuple[Any, Any]:
    updates, state = None, tx.init(PARAMS)
    for _ in range(num_steps):
        updates, state = tx.update(GRADS, state, PARAMS)
    return updates, state


def assert_equal(got, expected):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-12), got, expected)


@pytest.mark.parametrize("cfg", CONFIGS, ids=lambda cfg: f"{cfg.name}-{cfg.beta1}-{cfg.clip_norm}")
def test_every_array_of_the_state_has_a_name_or_none_for_each_dimension(cfg):
    for path, (shape, names) in state_by_path(cfg).items():
        assert isinstance(names, tuple), path
        assert len(names) == len(shape), path
        assert (set(names) == {None}) == (shape == (1,)) or shape == (), path


@pytest.mark.parametrize("cfg", CONFIGS, ids=lambda cfg: f"{cfg.name}-{cfg.beta1}-{cfg.clip_norm}")
def test_every_moment_as_large_as_its_parameter_has_its_names(cfg):
    params = by_path(MODEL, AXES)
    moments = state_by_path(cfg)
    found = 0
    for param, slot in itertools.product(params, ("mu", "nu", "ema")):
        for path in moments:
            if path.endswith(f"/{slot}/{param}"):
                assert moments[path] == params[param]
                found += 1
    num_moments = (cfg.beta1 is not None) if cfg.name == "adafactor" else 2
    assert found == num_moments * len(params)


def test_the_factors_of_square_matrices_have_the_names_of_the_dimensions_they_keep():
    state = state_by_path(OptimizerConfig())
    for name, rows, cols in (
        ("query", ("layers", "embed"), ("layers", "heads", "head_dim")),
        ("out", ("layers", "embed"), ("layers", "heads", "head_dim")),
        ("wi", ("layers", "embed"), ("layers", "mlp")),
        ("wo", ("layers", "embed"), ("layers", "mlp")),
        ("embedding", ("embed",), ("vocab",)),
    ):
        assert [state[f"0/{slot}/{name}/value"][1] for slot in ("v_row", "v_col", "v")] == [rows, cols, (None,)]
    for name, names in (("norm", ("layers", "embed")), ("final_norm", ("embed",)), ("bias", ("heads", "buckets"))):
        assert [state[f"0/{slot}/{name}/value"][1] for slot in ("v_row", "v_col", "v")] == [(None,), (None,), names]


def test_the_axes_have_the_structure_of_the_state_so_that_shardings_can_be_mapped_from_both():
    tx = make_optimizer(OptimizerConfig(beta1=0.9, clip_norm=1.0), NUM_STEPS, AXES)
    state = tx.init(MODEL)
    padded = jax.tree.map(lambda array, names: jnp.zeros(len(names)), state, state_axes(state, MODEL, AXES))
    assert jax.tree.structure(padded) == jax.tree.structure(state)


def test_the_updates_of_a_module_are_a_module_and_descend():
    cfg = OptimizerConfig(schedule="constant", warmup_steps=0, clip_norm=1.0)
    tx = make_optimizer(cfg, NUM_STEPS, AXES)
    grads = jax.tree.map(lambda p: np.where(np.sin(7 * p) < 0, -1, 1).astype(np.float32), MODEL)
    updates = jax.jit(lambda grads, model: tx.update(grads, tx.init(model), model)[0])(grads, MODEL)
    assert jax.tree.structure(updates) == jax.tree.structure(MODEL)
    for update, grad in zip(jax.tree.leaves(updates), jax.tree.leaves(grads), strict=True):
        np.testing.assert_array_equal(np.sign(update), -grad)


@pytest.mark.parametrize("name", ["adafactor", "adamw_rms", "adamw"])
def test_each_optimizer_has_the_numbers_of_the_config(name):
    cfg = OptimizerConfig(
        name=name, learning_rate=0.3, schedule="cosine", warmup_steps=0, weight_decay=0.2, beta1=0.7, beta2=0.8
    )
    schedule = make_schedule(cfg, NUM_STEPS)
    expected = {
        "adafactor": adafactor(schedule, PARAMS_AXES, beta1=0.7, weight_decay=0.2),
        "adamw_rms": adamw_rms(schedule, PARAMS_AXES, beta1=0.7, beta2=0.8, weight_decay=0.2),
        "adamw": optax.adamw(schedule, b1=0.7, b2=0.8, weight_decay=0.2),
    }[name]
    assert_equal(step(cfg, num_steps=2), step_with(expected, num_steps=2))


@pytest.mark.parametrize("name", ["adamw_rms", "adamw"])
def test_beta1_null_is_0_9_for_both_adams(name):
    assert_equal(step(OptimizerConfig(name=name)), step(OptimizerConfig(name=name, beta1=0.9)))


@pytest.mark.parametrize("name", ["adafactor", "adamw_rms", "adamw"])
def test_first_moments_in_bfloat16_step_nearly_as_those_in_float32(name):
    def third_update(dtype):
        cfg = OptimizerConfig(name=name, beta1=0.9, momentum_dtype=dtype, schedule="constant", warmup_steps=0)
        tx = make_optimizer(cfg, NUM_STEPS, PARAMS_AXES)
        state, update = tx.init(PARAMS), PARAMS
        for _ in range(3):
            update, state = tx.update(GRADS, state, PARAMS)
        return update, {leaf.dtype for leaf in jax.tree.leaves(state) if leaf.ndim > 1}

    (narrow, dtypes), (wide, _) = third_update("bfloat16"), third_update("float32")
    assert dtypes == {jnp.dtype("bfloat16"), jnp.dtype("float32")}
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2**-7), narrow, wide)


@pytest.mark.parametrize("name", ["adafactor", "adamw_rms", "adamw"])
def test_clip_norm_scales_all_gradients_by_their_common_norm(name):
    clip_norm = float(optax.tree.norm(GRADS)) / 4
    states = [step(OptimizerConfig(name=name, clip_norm=clip_norm))[1] for clip_norm in (None, clip_norm)]
    plain, clipped = (optax.tree.get(state, "v" if name == "adafactor" else "nu") for state in states)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b / 16, rtol=1e-5), clipped, plain)


def test_the_learning_rate_follows_the_schedule_from_step_0():
    cfg = OptimizerConfig(name="adamw", learning_rate=0.25, schedule="linear", warmup_steps=4)
    for num_steps, rate in ((1, 0), (2, 0.25 / 4), (3, 0.25 / 2)):
        updates, _ = step(cfg, num_steps)
        np.testing.assert_allclose(jnp.abs(updates["one"]), np.full((3, 5), rate), rtol=1e-4)


def test_a_schedule_that_does_not_fit_the_run_is_refused():
    with pytest.raises(ValueError, match="warmup_steps"):
        make_optimizer(OptimizerConfig(schedule="cosine", warmup_steps=NUM_STEPS), NUM_STEPS, AXES)
