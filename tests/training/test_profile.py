"""Tests t5x_lite/training/profile.py"""

import itertools

import jax

from t5x_lite.training.profile import traced


def test_three_steps_are_traced_and_no_batch_is_lost(monkeypatch, tmp_path):
    calls = []
    monkeypatch.setattr(jax.profiler, "start_trace", calls.append)
    monkeypatch.setattr(jax.profiler, "stop_trace", lambda: calls.append("stop"))
    seen = [(batch, len(calls)) for batch in itertools.islice(traced(iter("abcdefgh"), tmp_path), 7)]
    assert seen == [("a", 0), ("b", 0), ("c", 1), ("d", 1), ("e", 1), ("f", 2), ("g", 2)]
    assert calls == [str(tmp_path), "stop"]
