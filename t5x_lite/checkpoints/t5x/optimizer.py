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
from t5x_lite.optim.adafactor import MIN_DIM_SIZE_TO_FACTOR, UNUSED_SHAPE, Axes
from t5x_lite.parallel.param_paths import from_named_leaves, named_leaves

# Path of a leaf of the state: its position in the Optax chain, the slot and the parameter.
LEAF = re.compile(r"(?:[0-9]+/)*(?P<slot>count|v_row|v_col|v|ema)(?:/(?P<name>.+))?")
SLOT_OF = {"ema": "m"}


def opt_state_from_slots(slots: Slots, step: int, shapes: Any, axes: Mapping[str, Axes]) -> Any:
    """Returns the optimizer state that continues from Adafactor's slots after `step` updates.

    Args:
      shapes: the optimizer state as a tree of `jax.ShapeDtypeStruct`, with or without shardings.
      axes: the axis names of each parameter, without that of the layers.

    Raises:
      ValueError: if the optimizer is not Adafactor, or keeps other slots.
    """
    leaves = named_leaves(shapes)
    state = {leaf: _value(leaf, slots, step, shape, axes) for leaf, shape in leaves.items()}
    if not any("/ema/" in leaf for leaf in leaves):
        for name, kept in slots.items():
            if "m" in kept:
                raise _mismatch(f"has a first moment of {name}, but this optimizer has none", "set optimizer.beta1")
    return from_named_leaves(shapes, {leaf: _placed(array, leaves[leaf]) for leaf, array in state.items()})


def _value(leaf: str, slots: Slots, step: int, shape: jax.ShapeDtypeStruct, axes: Mapping[str, Axes]) -> np.ndarray:
    match = LEAF.fullmatch(leaf)
    if match is None:
        raise _mismatch(f"has Adafactor's state, but this optimizer keeps {leaf}", "set optimizer.name to adafactor")
    if match["slot"] == "count":
        return np.asarray(step, np.int32)
    slot, name = SLOT_OF.get(match["slot"], match["slot"]), match["name"]
    unused = np.zeros(UNUSED_SHAPE, np.float32)
    value = slots[name].get(slot, unused)
    if slot in ("v_row", "v_col") and value.shape == UNUSED_SHAPE != shape.shape:
        value = _factor(slot, slots[name].get("v", unused), axes[name])
    if value.shape != shape.shape:
        if value.shape == UNUSED_SHAPE:
            what, field = ("first moment", "beta1") if slot == "m" else (slot, "factored")
            raise _mismatch(f"has no {what} of {name}, but this optimizer keeps one", f"set optimizer.{field} to match")
        if shape.shape != UNUSED_SHAPE:
            reason = f"has {slot} of {name} of shape {list(value.shape)}, but this optimizer keeps {list(shape.shape)}"
            raise _mismatch(reason, "set the optimizer's fields to match")
        value = unused
    return value


def _factor(slot: str, v: np.ndarray, axes: Axes) -> np.ndarray:
    """Returns v_row or v_col of a second moment that is kept in full, as T5X's plain layout does for small matrices.

    Averaging over rows or columns commutes with the decay, so the averages are what the scalable layout would hold for
    the same gradients. Large matrices, which both layouts factor, and unused slots give an unused slot.
    """
    if v.shape == UNUSED_SHAPE:
        return v
    kept, first = kept_dims(axes), v.ndim - len(axes)  # the layers come first
    sides = [math.prod(v.shape[first + dim] for dim in dims) for dims in kept.values()]
    if min(sides) >= MIN_DIM_SIZE_TO_FACTOR:
        return np.zeros(UNUSED_SHAPE, np.float32)
    return v.mean(axis=tuple(first + dim for dim in range(len(axes)) if dim not in kept[slot]), dtype=np.float32)


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
