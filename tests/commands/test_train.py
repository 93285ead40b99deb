"""Tests t5x_lite/commands/train.py."""

from t5x_lite.commands import train
from t5x_lite.config import RunConfig


def test_the_run_and_the_wish_for_a_profile_reach_the_training_loop(monkeypatch):
    calls = []
    monkeypatch.setattr(train, "train", lambda cfg, *, profile: calls.append((cfg, profile)))
    cfg = RunConfig(run_dir="runs/x", seed=7)
    train.run(cfg, profile=True)
    assert calls == [(cfg, True)]
