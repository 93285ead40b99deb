"""Tests t5x_lite/training/init.py"""

from typing import NamedTuple

from t5x_lite.checkpoints import restoring
from t5x_lite.training.init import from_items, restore_or_init, to_items
from t5x_lite.training.step import TrainState

STATE = TrainState(step=7, model="m", opt_state="o", nonfinite_steps=2, nonfinite_in_a_row=1)


class Program(NamedTuple):
    """What is asked of a program."""

    shapes: TrainState

    def init(self):
        return "new"


class Checkpoints(NamedTuple):
    """Checkpoints in memory, by step."""

    items: dict

    def latest_step(self):
        return max(self.items, default=None)


def test_the_items_of_a_checkpoint_are_the_state():
    assert from_items(to_items(STATE)) == STATE
    assert set(to_items(STATE)) == {"model", "optimizer", "counters"}


def test_the_spike_guard_is_an_item_only_if_it_is_on():
    guarded = STATE._replace(spikes="s")
    assert to_items(guarded) == to_items(STATE) | {"spikes": "s"}
    assert from_items(to_items(guarded)) == guarded


def restore(checkpoints, step, shapes):
    assert shapes == to_items(STATE)
    return checkpoints.items[step]


def test_the_newest_checkpoint_is_restored_or_a_new_state_made(monkeypatch):
    monkeypatch.setattr(restoring, "restore", restore)
    monkeypatch.setattr(restoring, "meta", lambda _, step: {"next_example": 10 * step})
    assert restore_or_init(Program(STATE), Checkpoints({})) == ("new", 0)
    newest = STATE._replace(step=9)
    assert restore_or_init(Program(STATE), Checkpoints({3: to_items(STATE), 9: to_items(newest)})) == (newest, 90)
