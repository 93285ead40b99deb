# SPDX-License-Identifier: Apache-2.0
"""Finds out which checkpoints of a run are whole, on the host alone: no device, no other process takes part."""

import pathlib
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from flax.traverse_util import flatten_dict, unflatten_dict

from t5x_lite.checkpoints.orbax import CHECKSUMS, SHAPES
from t5x_lite.checkpoints.restoring import read_facts, read_quietly
from t5x_lite.files.run_path import steps_in


def whole_steps(directory: pathlib.Path) -> list[int]:
    """Returns the steps of the whole checkpoints in a directory, oldest first; reads all of their arrays."""
    return [step for step in steps_in(directory) if damage(directory / str(step)) is None]


def newest_whole(directory: pathlib.Path) -> int | None:
    """Returns the step of the newest whole checkpoint; None if there is none."""
    return next((step for step in reversed(steps_in(directory)) if damage(directory / str(step)) is None), None)


def damage(checkpoint: pathlib.Path) -> str | None:
    """Returns what is damaged in a checkpoint; None if all of it is as it was saved."""
    checkpoint = checkpoint.absolute()  # as Orbax requires
    try:
        facts = read_facts(checkpoint)
        for item in sorted({name.partition("/")[0] for name in facts[SHAPES]}):
            for name, total in _bit_sums(checkpoint, item, facts[SHAPES]).items():
                if total != facts[CHECKSUMS][name]:
                    return f"the checksum of its {name} does not match"
    except ValueError as error:
        return str(error)
    return None


def describe_whole(directory: pathlib.Path, damaged: int) -> str:
    """Returns a sentence on the whole checkpoints beside a damaged one, and the remedy."""
    steps = [step for step in steps_in(directory) if step != damaged and damage(directory / str(step)) is None]
    if not steps:
        return "No other checkpoint of this run is whole: restore it from a copy, or start another run"
    shown, newest = ", ".join(map(str, steps)), steps[-1]
    return f"Whole: {shown}. To use it, add --from_step {newest} to train, or --step {newest} to other commands"


def _bit_sums(checkpoint: pathlib.Path, item: str, shapes: dict[str, Any]) -> dict[str, int]:
    """Returns the checksums, as in `orbax.checksums`, of the arrays of an item, by path."""
    paths = [tuple(name.split("/")[1:]) for name in shapes if name.startswith(f"{item}/")]
    as_numpy = unflatten_dict(dict.fromkeys(paths, ocp.RestoreArgs(restore_type=np.ndarray)))
    empty = jax.tree.map(lambda _: 0, as_numpy)
    args = ocp.args.PyTreeRestore(empty, restore_args=as_numpy)
    reader: Any = ocp.PyTreeCheckpointHandler()
    arrays: Any = flatten_dict(read_quietly(item, lambda: reader.restore(checkpoint / item, args=args)))
    sums = {}
    for path, array in arrays.items():
        bits = np.atleast_1d(array).view(f"uint{8 * array.dtype.itemsize}")
        sums["/".join((item, *path))] = int(np.sum(bits, dtype=np.uint32))
    return sums
