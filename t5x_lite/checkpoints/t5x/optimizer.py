# SPDX-License-Identifier: Apache-2.0
"""Converts the state of `optim.adafactor` to and from T5X's per-parameter slots."""

import math
import re
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from t5x_lite.checkpoints.t5x.model import kept_dims
from t5x_lite.checkpoints.weights import Slots
from t5x_lite.optim.adafactor import MIN_DIM_SIZE_TO_FACTOR, UNUSED_SHAPE
from t5x_lite.parallel.param_paths import from_named_leaves, named_leaves

# Path of a leaf of the state: its position in the Optax chain, the slot and the parameter.
LEAF = re.compile(r"(?:[0-9]+/)*(?P<slot>count|v_row|v_col|v|ema)(?:/(?P<name>.+))?")
SLOT_OF = {"ema": "m"}


def opt_state_from_slots(slots: Slots, step: int, shapes: Any) -> Any:
    """Returns the optimizer state that continues from Adafactor's slots after `step` updates.

    Args:
      shapes: the optimizer state as a tree of `jax.ShapeDtypeStruct`, with or without shardings.

    Raises:
      ValueError: if the optimizer is not Adafactor, or keeps other slots.
    """
    leaves = named_leaves(shapes)
    state = {leaf: _value(leaf, slots, step, shape) for leaf, shape in leaves.items()}
    if not any("/ema/" in leaf for leaf in leaves):
        for name, kept in slots.items():
            if "m" in kept:
                raise _mismatch(f"has a first moment of {name}, but this optimizer has none", "set optimizer.beta1")
    return from_named_leaves(shapes, {leaf: _placed(array, leaves[leaf]) for leaf, array in state.items()})


def factored_like(shapes: Any, slots: Slots, axes: Mapping[str, tuple[str, ...]]) -> Slots:
    """Returns the slots, averaging second moments that they hold in full but the optimizer factors.

    T5X's plain layout holds those of matrices with a side under 128 in full. Averaging over rows or columns commutes
    with the decay, so the averages are what its scalable layout would hold for the same gradients.

    Args:
      shapes: as for `opt_state_from_slots`.
      axes: the axis names of each parameter, without that of the layers.
    """
    factored = {
        match["name"]
        for leaf, shape in named_leaves(shapes).items()
        if (match := LEAF.fullmatch(leaf)) and match["slot"] == "v" and shape.shape == UNUSED_SHAPE
    }
    return {
        name: {**kept, **_factors(kept["v"], axes[name])}
        if name in factored and _is_small(kept["v"], axes[name])
        else kept
        for name, kept in slots.items()
    }


def _is_small(v: np.ndarray, axes: tuple[str, ...]) -> bool:
    """Returns whether a slot holds the second moment of matrices with a side under 128."""
    if v.shape == UNUSED_SHAPE:
        return False
    sizes = v.shape[v.ndim - len(axes) :]
    return min(math.prod(sizes[dim] for dim in kept) for kept in kept_dims(axes).values()) < MIN_DIM_SIZE_TO_FACTOR


def _factors(v: np.ndarray, axes: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Returns v_row and v_col of a second moment, whose last dimensions have these names."""
    first = v.ndim - len(axes)  # after the layers
    dims = range(len(axes))
    return {
        slot: v.mean(axis=tuple(first + dim for dim in dims if dim not in kept), dtype=np.float32)
        for slot, kept in kept_dims(axes).items()
    }


def _value(leaf: str, slots: Slots, step: int, shape: jax.ShapeDtypeStruct) -> np.ndarray:
    match = LEAF.fullmatch(leaf)
    if match is None:
        raise _mismatch(f"has Adafactor's state, but this optimizer keeps {leaf}", "set optimizer.name to adafactor")
    if match["slot"] == "count":
        return np.asarray(step, np.int32)
    slot, name = SLOT_OF.get(match["slot"], match["slot"]), match["name"]
    value = slots[name].get(slot, np.zeros(UNUSED_SHAPE, np.float32))
    if value.shape != shape.shape:
        if value.shape == UNUSED_SHAPE:
            what, field = ("first moment", "beta1") if slot == "m" else (slot, "factored")
            raise _mismatch(f"has no {what} of {name}, but this optimizer keeps one", f"set optimizer.{field} to match")
        if shape.shape != UNUSED_SHAPE:
            reason = f"has {slot} of {name} of shape {list(value.shape)}, but this optimizer keeps {list(shape.shape)}"
            raise _mismatch(reason, "set the optimizer's fields to match")
        value = np.zeros(UNUSED_SHAPE, np.float32)
    return value


def _mismatch(reason: str, remedy: str) -> ValueError:
    return ValueError(f"model.pretrained {reason}: {remedy}, or leave out optimizer.from_pretrained")


def slots_of(opt_state: Any) -> Slots | None:
    """Returns Adafactor's slots by parameter; None if this is the state of another optimizer."""
    slots: dict[str, dict[str, np.ndarray]] = {}
    for leaf, array in named_leaves(opt_state).items():
        match = LEAF.fullmatch(leaf)
        if match is None:
            return None
        if match["slot"] != "count":
            slots.setdefault(match["name"], {})[SLOT_OF.get(match["slot"], match["slot"])] = array
    return slots if all(kept.keys() >= {"v_row", "v_col", "v"} for kept in slots.values()) and slots else None


def _placed(array: np.ndarray, shape: jax.ShapeDtypeStruct) -> jax.Array:
    if shape.sharding is None:
        return jnp.asarray(array)
    return jax.make_array_from_callback(array.shape, shape.sharding, lambda index: array[index])
