# SPDX-License-Identifier: Apache-2.0
"""The state of Adafactor, from a checkpoint of T5X to that of `optim.adafactor`, and back.

Shape letters: L layers, D model.
"""

import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from t5x_lite.checkpoints.t5x.model import UNUSED_SHAPE, T5XModel, axes_of, kept_dims
from t5x_lite.parallel.param_paths import from_named_leaves, named_leaves

# A leaf of the state: where in the chain of transformations, what, and of which parameter.
LEAF = re.compile(r"(?:[0-9]+/)*(?P<slot>count|v_row|v_col|v|ema)(?:/(?P<name>.+))?")


def read_opt_state(model: T5XModel, shapes: Any) -> Any:
    """Returns the state that an optimizer goes on with where T5X's stopped.

    Args:
      model: read from a checkpoint.
      shapes: an optimizer's state of `jax.ShapeDtypeStruct`, with shardings or without.

    Raises:
      ValueError: if the optimizer is not Adafactor, or keeps other things than the checkpoint has.
    """
    model.check_slots()
    leaves = named_leaves(shapes)
    found: dict[str, np.ndarray] = {}
    axes = axes_of(model.config)
    has_layers = {name: names[:1] == ("layers",) for name, names in axes.items()}
    keeps_moment = any("/ema/" in leaf for leaf in leaves)
    for leaf, shape in leaves.items():
        match = LEAF.fullmatch(leaf)
        if match is None:
            raise ValueError(
                f"the optimizer keeps {leaf}, which Adafactor does not: set optimizer.name to adafactor, or leave "
                "optimizer.from_pretrained out"
            )
        slot, name = match["slot"], match["name"]
        if slot == "count":
            found[leaf] = np.asarray(model.step, np.int32)
            continue
        kept = kept_dims(axes[name][has_layers[name] :])[slot] if slot in ("v_row", "v_col") else None
        # An unused slot of ours has T5X's shape of one: what it has for this parameter is in another slot.
        unused = shape.shape == UNUSED_SHAPE
        value = None if unused else model.slot(name, "m" if slot == "ema" else slot, kept)
        if value is None and not unused:
            what = "first moment" if slot == "ema" else slot
            raise ValueError(
                f"{model.where} keeps no {what} of {name}, and this optimizer does: set optimizer.beta1 as there, "
                "or leave optimizer.from_pretrained out"
            )
        if value is not None and value.shape != shape.shape:
            raise ValueError(
                f"{model.where} keeps {slot} of {name} of shape {list(value.shape)}, and this optimizer "
                f"{list(shape.shape)}: leave optimizer.from_pretrained out"
            )
        found[leaf] = np.zeros(UNUSED_SHAPE, np.float32) if value is None else value
        if slot == "v" and not keeps_moment and model.slot(name, "m") is not None:
            raise ValueError(
                f"{model.where} keeps a first moment of {name}, and this optimizer does not: set optimizer.beta1 as it "
                "was there, or leave optimizer.from_pretrained out"
            )
    return from_named_leaves(shapes, {leaf: _placed(array, leaves[leaf]) for leaf, array in found.items()})


def slots_of(opt_state: Any) -> dict[str, dict[str, np.ndarray]] | None:
    """Returns what Adafactor keeps of each parameter, for `t5x.plain_arrays`; None of another optimizer."""
    slots: dict[str, dict[str, np.ndarray]] = {}
    for leaf, array in named_leaves(opt_state).items():
        match = LEAF.fullmatch(leaf)
        if match is None:
            return None
        if match["slot"] != "count":
            slots.setdefault(match["name"], {})["m" if match["slot"] == "ema" else match["slot"]] = array
    return slots if all(kept.keys() >= {"v_row", "v_col", "v"} for kept in slots.values()) and slots else None


def _placed(array: np.ndarray, shape: jax.ShapeDtypeStruct) -> jax.Array:
    if shape.sharding is None:
        return jnp.asarray(array)
    return jax.make_array_from_callback(array.shape, shape.sharding, lambda index: array[index])
