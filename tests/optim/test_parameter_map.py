"""Tests t5x_lite/optim/parameter_map.py, and Adafactor's options that differ by parameter."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t5x_lite.config import OptimizerConfig
from t5x_lite.optim import make_optimizer
from t5x_lite.optim.parameter_map import by_parameter

SHAPES: Any = {"table": (7, 5), "layers": {"wi": (2, 5, 6), "wo": (2, 6, 5), "scale": (2, 5)}}
AXES = {
    "table": ("vocab", "embed"),
    "layers": {"wi": ("layers", "embed", "mlp"), "wo": ("layers", "mlp", "embed"), "scale": ("layers", "embed")},
}
STEPS = 3


def tree(seed) -> Any:
    rng = np.random.default_rng(seed)
    is_shape = lambda node: isinstance(node, tuple)  # noqa: E731
    return jax.tree.map(lambda shape: jnp.asarray(rng.normal(size=shape), jnp.float32), SHAPES, is_leaf=is_shape)


def trained(**options: Any) -> Any:
    """Returns the parameters after all steps."""
    cfg = OptimizerConfig(learning_rate=0.1, schedule="constant", warmup_steps=0, **options)
    tx, params = make_optimizer(cfg, STEPS, AXES), tree(0)
    state = tx.init(params)
    for step in range(STEPS):
        updates, state = tx.update(tree(1 + step), state, params)
        params = jax.tree.map(jnp.add, params, updates)
    return params


def assert_equal(tree: Any, other: Any):
    jax.tree.map(np.testing.assert_array_equal, tree, other)


def test_the_first_expression_found_in_a_path_decides():
    values = by_parameter(
        "option", {"layers/w": 1, "o$": 2, "e$": 3}, {"table": 0, "layers": {"wi": 0, "wo": 0}, "foo": 0}
    )
    assert values == {"table": 3, "layers": {"wi": 1, "wo": 1}, "foo": 2}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"layers": 1}, "option has no expression for the parameter table: add '.\\*' as the last one"),
        ({}, "option has no expression for the parameter"),
        ({".*": 1, "layers": 2}, "option has 'layers', which decides for no parameter"),
        ({"encoder": 1, ".*": 2}, "option has 'encoder', which decides for no parameter: .*layers/wi"),
        ({"(": 1, ".*": 2}, r"option has '\(', which is no regular expression"),
    ],
)
def test_an_expression_that_is_missing_idle_or_invalid_is_an_error(value, message):
    with pytest.raises(ValueError, match=message):
        by_parameter("option", value, {"table": 0, "layers": {"wi": 0}})


def test_each_parameter_is_factored_by_its_own_rule():
    mixed = trained(factored={"wi": "none", ".*": "stacked"})
    full, factored = trained(factored="none"), trained(factored="stacked")
    assert_equal(mixed["layers"]["wi"], full["layers"]["wi"])
    assert_equal(mixed["layers"]["wo"], factored["layers"]["wo"])
    assert np.abs(full["layers"]["wi"] - factored["layers"]["wi"]).max() > 1e-3


def test_the_step_of_each_parameter_is_relative_to_it_or_not():
    mixed = trained(multiply_by_parameter_scale={"table": False, ".*": True})
    absolute, relative = trained(multiply_by_parameter_scale=False), trained()
    assert_equal(mixed["table"], absolute["table"])
    assert_equal(mixed["layers"], relative["layers"])
    assert np.abs(absolute["table"] - relative["table"]).max() > 1e-3


def test_another_optimizer_takes_no_map():
    with pytest.raises(ValueError, match=r"factored is .*wi.* and optimizer.name is adamw"):
        OptimizerConfig(name="adamw", factored={"wi": "none", ".*": "stacked"})
