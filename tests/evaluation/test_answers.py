"""Tests t5x_lite/evaluation/answers.py; tests/evaluation/test_api.py has models that answer"""

import types

import jax.numpy as jnp
import numpy as np
import pytest

from t5x_lite.config import TaskConfig
from t5x_lite.evaluation import answers
from t5x_lite.evaluation.metrics import Reference

TASK = TaskConfig(source="a.jsonl", inputs="{q}", targets="{a}", metrics=("accuracy",))


def test_predictions_already_made_are_not_made_again(monkeypatch):
    evaluation = types.SimpleNamespace(corpora={"x": types.SimpleNamespace(task=TASK)}, on_examples=None)
    monkeypatch.setattr(answers, "references", lambda *_: [Reference(targets) for targets in ("a", "b", "c")])
    monkeypatch.setattr(answers, "predictions", lambda *_: ["a", "b", "d"])
    assert answers.measured(evaluation, "x", None, ["a", "e", "d"]) == {"eval/x/accuracy": pytest.approx(100 / 3)}
    assert answers.measured(evaluation, "x", None, None) == {"eval/x/accuracy": pytest.approx(200 / 3)}


def test_a_few_examples_are_shown_with_their_predictions(monkeypatch):
    shown, corpora = {}, {"x": types.SimpleNamespace(task=TASK)}
    evaluation = types.SimpleNamespace(corpora=corpora, on_examples=shown.__setitem__)
    monkeypatch.setattr(answers, "references", lambda *_: [Reference(targets) for targets in ("a", "b", "c")])
    monkeypatch.setattr(answers, "predictions", lambda *_: ["a", "b", "d"])
    monkeypatch.setattr(answers, "texts", lambda evaluation, name, most: [("q", "a"), ("r", "b")])
    answers.measured(evaluation, "x", None, None)
    assert shown == {"x": [("q", "a", "a"), ("r", "b", "b")]}


def test_arrays_of_one_process_are_fetched_as_they_are():
    np.testing.assert_array_equal(answers.fetched(jnp.arange(3)), [0, 1, 2])
