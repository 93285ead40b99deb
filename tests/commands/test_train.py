"""Tests t5x_lite/commands/train.py."""

import pytest

from t5x_lite.commands import train
from t5x_lite.config import RunConfig
from t5x_lite.training.loop import Results


@pytest.fixture
def calls(monkeypatch):
    """What the training loop is called with; it is complete if it may change the run."""
    calls = []

    def call(cfg, *, profile, allow_changes, from_step):
        calls.append((cfg, profile, allow_changes, from_step))
        return Results({}, step=3, is_complete=allow_changes)

    monkeypatch.setattr(train, "train", call)
    return calls


def test_the_run_and_its_options_reach_the_training_loop(calls):
    cfg = RunConfig(run_dir="runs/x", seed=7)
    train.run(cfg, profile=True)
    train.run(cfg, allow_changes=True, from_step=40)
    assert calls == [(cfg, True, False, None), (cfg, False, True, 40)]


def test_the_exit_status_tells_a_complete_run_from_one_that_was_stopped(calls):
    cfg = RunConfig(run_dir="runs/x")
    assert [train.run(cfg, allow_changes=is_complete) for is_complete in (True, False)] == [0, 75]
    assert len(calls) == 2
