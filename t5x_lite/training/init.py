# SPDX-License-Identifier: Apache-2.0
"""The initial state of a run: from the newest checkpoint or random; `pretrained.py` starts from a pretrained model."""

from collections.abc import Mapping
from typing import Any

import jax

from t5x_lite.checkpoints.orbax import Checkpoints
from t5x_lite.training.program import Program
from t5x_lite.training.step import TrainState

SPIKES = "spikes"  # the item of the spike guard, which a checkpoint has only if the guard is on
COUNTERS = ("step", "nonfinite_steps", "nonfinite_in_a_row")


def restore_or_init(program: Program, checkpoints: Checkpoints) -> tuple[TrainState, int]:
    """Returns the newest checkpoint's state, or a new one, and the number of examples it has seen."""
    step = checkpoints.latest_step()
    if step is None:
        return program.init(), 0
    from t5x_lite.checkpoints.restoring import has_item, meta, restore

    items, spikes = to_items(program.shapes), None
    if SPIKES in items and not has_item(checkpoints, step, SPIKES):  # the guard was off
        from t5x_lite.training.spikes import no_spikes

        spikes = jax.device_put(no_spikes(), jax.tree.map(lambda leaf: leaf.sharding, items.pop(SPIKES)))
    state = from_items({SPIKES: spikes} | restore(checkpoints, step, items))
    return state, meta(checkpoints, step)["next_example"]


def to_items(state: TrainState) -> dict[str, Any]:
    """Returns a checkpoint's items; the model is a separate item, so that it can be restored alone."""
    counters = {name: getattr(state, name) for name in COUNTERS}
    items = {"model": state.model, "optimizer": state.opt_state, "counters": counters}
    return items if state.spikes is None else items | {SPIKES: state.spikes}


def from_items(items: Mapping[str, Any]) -> TrainState:
    """Returns the state in a checkpoint's items; the inverse of `to_items`."""
    model, opt_state, spikes = items["model"], items["optimizer"], items.get(SPIKES)
    return TrainState(model=model, opt_state=opt_state, spikes=spikes, **items["counters"])
