# SPDX-License-Identifier: Apache-2.0
"""The initial state of a run: from the newest checkpoint or random; `pretrained.py` starts from a pretrained model."""

from collections.abc import Mapping
from typing import Any

from t5x_lite.checkpoints.orbax import Checkpoints
from t5x_lite.training.program import Program
from t5x_lite.training.step import TrainState

COUNTERS = ("step", "nonfinite_steps", "nonfinite_in_a_row")


def restore_or_init(program: Program, checkpoints: Checkpoints) -> tuple[TrainState, int]:
    """Returns the newest checkpoint's state, or a new one, and the number of examples it has seen."""
    step = checkpoints.latest_step()
    if step is None:
        return program.init(), 0
    from t5x_lite.checkpoints.restoring import meta, restore

    state = from_items(restore(checkpoints, step, to_items(program.shapes)))
    return state, meta(checkpoints, step)["next_example"]


def to_items(state: TrainState) -> dict[str, Any]:
    """Returns a checkpoint's items; the model is a separate item, so that it can be restored alone."""
    counters = {name: getattr(state, name) for name in COUNTERS}
    return {"model": state.model, "optimizer": state.opt_state, "counters": counters}


def from_items(items: Mapping[str, Any]) -> TrainState:
    """Returns the state in a checkpoint's items; the inverse of `to_items`."""
    return TrainState(model=items["model"], opt_state=items["optimizer"], **items["counters"])
