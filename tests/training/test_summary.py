"""Tests t5x_lite/training/summary.py"""

import dataclasses
import math
import xml.etree.ElementTree as ElementTree

import pytest

from t5x_lite.config import TaskConfig
from t5x_lite.training.resolve import resolve_run
from t5x_lite.training.summary import describe_end, loss_curve
from tests import runs
from tests.svg import lines


def test_the_end_of_a_run_says_how_to_continue_and_what_the_model_does(tmp_path):
    run = resolve_run(runs.config(tmp_path))
    stopped = describe_end(run, 3, "SIGTERM")
    assert stopped == "Stopped by SIGTERM at step 3, saved. Run the same command again to resume."
    assert describe_end(run, 8, "SIGTERM").startswith("Complete at step 8. Raise train.num_steps to continue")


@pytest.mark.parametrize(
    ("task", "use"),
    [
        ({}, "fills in blanks"),
        ({"objective": "causal_lm"}, "answers each line of its input"),
        ({"source": "a.jsonl", "inputs": "{a}", "targets": "{b}"}, "answers each line of its input"),
    ],
)
def test_only_models_trained_on_blanks_fill_them(tmp_path, task, use):
    run = resolve_run(dataclasses.replace(runs.config(tmp_path), task=TaskConfig(**task)))
    assert describe_end(run, 8, None).endswith(f"{tmp_path} {use}.")


def test_the_loss_curve_has_a_line_for_each_loss():
    rows = [{"step": 1, "loss": 2.5}, {"step": 2, "loss": "nan", "eval/loss": math.pi}, {"step": 3, "loss": 1.5}]
    document = loss_curve(rows)
    assert [len(points) for points in lines(document)] == [2, 1, 0, 0]
    assert "held-out loss" in "".join(ElementTree.fromstring(document).itertext())
