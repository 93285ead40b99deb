# SPDX-License-Identifier: Apache-2.0
"""Adafactor with T5X's constants, for parameters stacked by layer and attention kernels split by head.

Each layer of a parameter is a matrix of its "embed" dimension by all others: ("layers", "embed", "heads", "head_dim")
is a stack of [embed] x [heads * head_dim]. Means (of squared gradients, and in the RMS of updates and parameters) are
taken per layer, so that a stack is updated exactly like T5X's separate layers. `optax.adafactor` instead factors the
two largest dimensions and averages over the whole stack.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from t5x_lite.config.run import Factored

DECAY_RATE = 0.8  # beta2 is 1 - (step + 1) ** -0.8, which rises from 0 towards 1
MIN_SQUARED_GRADIENT = 1e-30  # added to each square, to avoid 0 / 0
MAX_UPDATE_RMS = 1.0  # before the learning rate
MIN_PARAMETER_RMS = 1e-3  # so that zero parameters can change
MIN_DIM_SIZE_TO_FACTOR = 128
UNUSED_SHAPE = (1,)  # as in T5X's checkpoints

Axes = tuple[str, ...]
Dims = tuple[int, ...]


class Rules(NamedTuple):
    """Which second moments Adafactor factors, and what its learning rate is relative to.

    `factored` and `multiply_by_parameter_scale` may also be mappings by parameter; see `parameter_map`.

    Args:
      factored: "stacked" for T5X's logical rules, which factor arrays of several layers or with split heads whatever
        their sizes, and plain matrices if both sides are large; "large" for only matrices of the latter kind;
        "none".
      min_dim_size_to_factor: minimum size of a large side.
      multiply_by_parameter_scale: whether updates are multiplied by the RMS of their parameters.

    Source: T5X `adafactor.py`: `standard_logical_factor_rules`, `_parse_rule`, `_factored_dims`.
    """

    factored: Factored | Mapping[str, Factored] = "stacked"
    min_dim_size_to_factor: int = MIN_DIM_SIZE_TO_FACTOR
    multiply_by_parameter_scale: bool | Mapping[str, bool] = True

    def factor(self, factored: Factored, shape: tuple[int, ...], axes: Axes) -> bool:
        """Returns whether to factor the second moment of a parameter with these axis names."""
        rows, cols = _matrix_dims(axes)
        if not cols or factored == "none":
            return False
        if factored == "stacked" and (len(shape) > 2 or "layers" in axes):
            return "embed" in axes  # not tables of relative position biases, one per layer
        sides = [math.prod(shape[dim] for dim in dims) for dims in (rows, cols)]
        return min(sides) >= self.min_dim_size_to_factor


T5X_RULES = Rules()


class FactoredRmsState(NamedTuple):
    """Running means of squared gradients: pytrees like the parameters, with unused leaves of shape (1,).

    Factored parameters use v_row (averaged over all dimensions but "layers" and "embed") and v_col (averaged over
    "embed"), others v. The update is symmetric in v_row and v_col. T5X uses the same names for stacked parameters; for
    plain matrices, its v_row keeps the smaller dimension, or the first if they are equal.
    """

    count: jax.Array
    v_row: Any
    v_col: Any
    v: Any


def adafactor(
    learning_rate: optax.Schedule,
    axes: Any,
    *,
    beta1: float | None = None,
    weight_decay: float = 0.0,
    rules: Rules = T5X_RULES,
    momentum_dtype: str = "float32",
) -> optax.GradientTransformation:
    """Returns Adafactor, including the learning rate.

    Args:
      learning_rate: schedule of the maximum RMS of updates, relative to the RMS of their parameters unless the
        rules say otherwise.
      axes: a pytree like the parameters, holding their axis names.
      beta1: decay rate of the first moment, an average of updates times learning rate; None disables it.
      weight_decay: fraction of each parameter removed per step, not multiplied by the learning rate.
      rules: which second moments a new state factors, and whether updates are relative to their parameters.
      momentum_dtype: dtype of the first moment.

    Source: Shazeer and Stern, https://arxiv.org/abs/1804.04235; order and constants from T5X's `adafactor.py`.
    """
    return optax.chain(
        scale_by_factored_rms(axes, rules),
        clip_by_layer_rms(axes),
        scale_by_parameter_rms(axes, rules.multiply_by_parameter_scale),
        optax.scale_by_schedule(learning_rate),
        optax.identity() if beta1 is None else optax.ema(beta1, debias=False, accumulator_dtype=momentum_dtype),
        optax.add_decayed_weights(weight_decay),
        optax.scale(-1),
    )


def scale_by_factored_rms(axes: Any, rules: Rules = T5X_RULES) -> optax.GradientTransformation:
    """Divides gradients by their running RMS, whose mean square is factored where the state's is."""

    def init_one(param: jax.Array, names: Axes, factored: Factored) -> tuple[jax.Array, jax.Array, jax.Array]:
        rows, cols = _matrix_dims(names)
        if not rules.factor(factored, param.shape, names):
            return jnp.zeros(UNUSED_SHAPE), jnp.zeros(UNUSED_SHAPE), jnp.zeros(param.shape)
        return jnp.zeros(_without(param.shape, cols)), jnp.zeros(_without(param.shape, rows)), jnp.zeros(UNUSED_SHAPE)

    def init(params: Any) -> FactoredRmsState:
        factored = _of_each("optimizer.factored", rules.factored, params)
        return FactoredRmsState(jnp.zeros((), jnp.int32), *_map(init_one, params, axes, factored))

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, FactoredRmsState]:
        del params
        beta2 = 1 - (state.count + 1.0) ** -DECAY_RATE

        def update_one(grad, names, v_row, v_col, v):
            grad = grad.astype(jnp.float32)
            squared = grad * grad + MIN_SQUARED_GRADIENT
            if v.shape == grad.shape:
                v = beta2 * v + (1 - beta2) * squared
                return grad * jax.lax.rsqrt(v), v_row, v_col, v
            rows, cols = _matrix_dims(names)
            v_row = beta2 * v_row + (1 - beta2) * jnp.mean(squared, axis=cols)
            v_col = beta2 * v_col + (1 - beta2) * jnp.mean(squared, axis=rows)
            return grad * _inverse_root_of_product(v_row, v_col, rows, cols), v_row, v_col, v

        updates, v_row, v_col, v = _map(update_one, updates, axes, state.v_row, state.v_col, state.v)
        return updates, state._replace(count=optax.safe_increment(state.count), v_row=v_row, v_col=v_col, v=v)

    return optax.GradientTransformation(init, update)


def clip_by_layer_rms(axes: Any, max_rms: float = MAX_UPDATE_RMS) -> optax.GradientTransformation:
    """Clips the RMS of each layer's update to `max_rms`."""
    return optax.stateless(
        lambda updates, _: jax.tree.map(
            lambda update, names: update / jnp.maximum(1, _layer_rms(update, names) / max_rms), updates, axes
        )
    )


def scale_by_parameter_rms(
    axes: Any, multiply: bool | Mapping[str, bool] = True, min_rms: float = MIN_PARAMETER_RMS
) -> optax.GradientTransformation:
    """Multiplies each layer's update by max(RMS of its parameters, `min_rms`), unless `multiply` is False for it."""

    def scale_one(update: jax.Array, param: jax.Array, names: Axes, is_scaled: bool) -> jax.Array:
        return update * jnp.maximum(_layer_rms(param, names), min_rms) if is_scaled else update

    def scale(updates: Any, params: Any) -> Any:
        scaled = _of_each("optimizer.multiply_by_parameter_scale", multiply, params)
        return jax.tree.map(scale_one, updates, params, axes, scaled)

    return optax.stateless(scale)


def factored_axes(axes: Axes) -> tuple[Axes, Axes]:
    """Returns the axis names of v_row and v_col of a factored parameter."""
    rows, cols = _matrix_dims(axes)
    return _without(axes, cols), _without(axes, rows)


def factored_rms_axes(state: FactoredRmsState, params: Any, axes: Any) -> FactoredRmsState:
    """Returns the state's pytree with the axis names of each array, (None,) for placeholders."""

    def names_one(param, names, v):
        if v.shape == param.shape:
            return (None,), (None,), names
        return *factored_axes(names), (None,)

    v_row, v_col, v = _map(names_one, params, axes, state.v)
    return state._replace(count=(), v_row=v_row, v_col=v_col, v=v)


def _of_each(option: str, value: Any, params: Any) -> Any:
    """Returns a pytree of each parameter's value of an option."""
    if not isinstance(value, Mapping):
        return jax.tree.map(lambda _: value, params)
    from t5x_lite.optim.parameter_map import by_parameter

    return by_parameter(option, value, params)


def _layer_rms(x: jax.Array, axes: Axes) -> jax.Array:
    """Returns the RMS of each layer, broadcastable to x."""
    return jnp.sqrt(jnp.mean(x * x, axis=_layer_dims(axes), keepdims=True))


def _layer_dims(axes: Axes) -> Dims:
    return tuple(dim for dim, name in enumerate(axes) if name != "layers")


def _matrix_dims(axes: Axes) -> tuple[Dims, Dims]:
    """Returns the row and column dimensions of a layer's matrix; a vector has no columns."""
    dims = _layer_dims(axes)
    rows = (axes.index("embed"),) if "embed" in axes else dims[:1]
    return rows, tuple(dim for dim in dims if dim not in rows)


def _without(items: tuple, dims: Dims) -> tuple:
    return tuple(item for dim, item in enumerate(items) if dim not in dims)


def _inverse_root_of_product(v_row: jax.Array, v_col: jax.Array, rows: Dims, cols: Dims) -> jax.Array:
    """Returns (v_row v_col / mean(v_row)) ** -0.5, the inverse RMS of each gradient element."""
    v_row, v_col = jnp.expand_dims(v_row, cols), jnp.expand_dims(v_col, rows)
    return jax.lax.rsqrt(v_row / jnp.mean(v_row, axis=rows, keepdims=True)) * jax.lax.rsqrt(v_col)


def _map(function, tree: Any, *trees: Any) -> list:
    """Like `jax.tree.map` for a function with several results; returns one pytree per result."""
    treedef = jax.tree.structure(tree)
    results = [function(*leaves) for leaves in zip(*map(treedef.flatten_up_to, (tree, *trees)), strict=True)]
    return [treedef.unflatten(leaves) for leaves in zip(*results, strict=True)]
