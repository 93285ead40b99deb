# SPDX-License-Identifier: Apache-2.0
"""Reads a run's checkpoints, which `orbax` wrote."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
from flax.traverse_util import unflatten_dict
from jax.sharding import SingleDeviceSharding

from t5x_lite.checkpoints.orbax import BFLOAT16, CHECKSUMS, META, SHAPES, Checkpoints, checksums, shapes
from t5x_lite.files.messages import first_line
from t5x_lite.parallel.param_paths import from_pure_dict, named_leaves, to_pure_dict


def restore(checkpoints: Checkpoints, step: int, items: Mapping[str, Any]) -> dict[str, Any]:
    """Restores some items of a checkpoint onto devices.

    Args:
      items: trees of `jax.ShapeDtypeStruct` by name; the shardings may differ from the saved ones.

    Raises:
      ValueError: if the checkpoint is damaged or its shapes differ.
    """
    # Orbax would crop or pad an array to the requested shape, and does not detect corrupted values.
    facts = _read(checkpoints, step, ocp.args.Composite(**dict.fromkeys((SHAPES, CHECKSUMS), ocp.args.JsonRestore())))
    for name, shape in shapes(items).items():
        saved = facts[SHAPES]
        if saved.get(name) != shape:
            raise ValueError(
                f"checkpoint {checkpoints.directory / str(step)} has {name} of shape {saved.get(name)}, not {shape}: "
                "it belongs to another model or optimizer; name the run that saved it"
            )
    args = {name: _restore_args(to_pure_dict(tree)) for name, tree in items.items()}
    restored = _read(checkpoints, step, ocp.args.Composite(**args))
    trees = {name: from_pure_dict(tree, restored[name]) for name, tree in items.items()}
    for name, checksum in checksums(trees).items():
        if checksum != facts[CHECKSUMS][name]:
            raise _damaged(checkpoints, step, f"the checksum of {name} does not match")
    return trees


def meta(checkpoints: Checkpoints, step: int) -> dict[str, Any]:
    """Returns a checkpoint's metadata; raises ValueError if it is damaged."""
    return _read(checkpoints, step, ocp.args.Composite(**{META: ocp.args.JsonRestore()}))[META]


def arrays(checkpoints: Checkpoints, step: int, item: str) -> dict[str, Any]:
    """Returns an item's arrays by path, on the default device, without knowing its tree."""
    saved = _read(checkpoints, step, ocp.args.Composite(**{SHAPES: ocp.args.JsonRestore()}))[SHAPES]
    narrow = meta(checkpoints, step).get(BFLOAT16, ())
    place = SingleDeviceSharding(jax.local_devices()[0])
    leaves: dict[tuple[str, ...], jax.ShapeDtypeStruct] = {}
    for path, shape in saved.items():
        first, *names = path.split("/")
        if first == item:
            dtype = jnp.int32 if names[-1] == "count" else jnp.bfloat16 if path in narrow else jnp.float32
            # Nested in a node `value` like a Flax variable, because a parameter named "value" would lose its name.
            leaves[(*names, "value")] = jax.ShapeDtypeStruct(shape, dtype, sharding=place)
    return named_leaves(restore(checkpoints, step, {item: unflatten_dict(leaves)})[item])


def _restore_args(pure: dict[str, Any]) -> ocp.args.PyTreeRestore:
    return ocp.args.PyTreeRestore(pure, restore_args=ocp.checkpoint_utils.construct_restore_args(pure))


def _read(checkpoints: Checkpoints, step: int, args: Any) -> Any:
    try:
        return checkpoints.manager.restore(step, args=args)
    except Exception as error:  # as above
        raise _damaged(checkpoints, step, first_line(error)) from error


def _damaged(checkpoints: Checkpoints, step: int, reason: str) -> ValueError:
    return ValueError(
        f"cannot read checkpoint {checkpoints.directory / str(step)}: {reason}. "
        "If it is damaged, delete that directory to continue from the previous checkpoint"
    )
