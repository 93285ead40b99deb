"""Tests t5x_lite/training/summary.py"""

import dataclasses
import math
import types
import xml.etree.ElementTree as ElementTree

import pytest

from t5x_lite.config import TaskConfig
from t5x_lite.training.resolve import resolve_run
from t5x_lite.training.summary import describe_end, describe_start, loss_curve
from tests import runs
from tests.svg import lines


def test_the_end_of_a_run_says_how_to_continue_and_what_the_model_does(tmp_path):
    run = resolve_run(runs.config(tmp_path))
    stopped = describe_end(run, 3, "SIGTERM", [2, 3])
    assert stopped == "Stopped by SIGTERM at step 3, saved. Run the same command again to resume."
    assert describe_end(run, 8, "SIGTERM", [8]).startswith("Complete at step 8. Raise train.num_steps to continue")


@pytest.mark.parametrize(
    ("schedule", "warmup", "is_told"), [("constant", 9, True), ("constant", 8, False), ("rsqrt", 9, False)]
)
def test_a_warmup_that_is_longer_than_the_run_is_told(tmp_path, schedule, warmup, is_told):
    cfg = runs.config(tmp_path)
    optimizer = dataclasses.replace(cfg.optimizer, schedule=schedule, warmup_steps=warmup)
    train = dataclasses.replace(cfg.train, num_steps=8)
    leaf = types.SimpleNamespace(size=1_000_000)
    devices = types.SimpleNamespace(flat=[types.SimpleNamespace(device_kind="cpu")])
    program = types.SimpleNamespace(
        shapes=types.SimpleNamespace(model=[leaf]),
        mesh=types.SimpleNamespace(shape={"data": 1}, devices=devices),
        model=types.SimpleNamespace(dtype="float32"),
    )
    run = types.SimpleNamespace(config=dataclasses.replace(cfg, optimizer=optimizer, train=train), notes=("noted",))
    examples = types.SimpleNamespace(tasks={})
    text = describe_start(types.SimpleNamespace(run=run, program=program, examples=examples), 0)
    assert text.startswith("Training 1.0M parameters in float32 on one device (cpu)")
    assert ("\noptimizer.warmup_steps is 9 and train.num_steps is 8: the learning rate does not" in text) == is_told
    assert text.endswith("\nnoted")


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
    assert describe_end(run, 8, None, [8]).endswith(f"{tmp_path} {use}.")


def test_the_loss_curve_has_a_line_for_each_loss():
    rows = [{"step": 1, "loss": 2.5}, {"step": 2, "loss": "nan", "eval/loss": math.pi}, {"step": 3, "loss": 1.5}]
    document = loss_curve(rows, with_unigrams=True)
    assert [len(points) for points in lines(document)] == [2, 1]
    assert "held-out loss" in "".join(ElementTree.fromstring(document).itertext())


def test_the_unigram_entropy_is_drawn_for_text_alone():
    rows = [{"step": 2, "loss": 2.5, "eval/loss": 3.5, "eval/unigram_text": 4.5}]
    for with_unigrams in (True, False):
        document = loss_curve(rows, with_unigrams=with_unigrams)
        assert ("unigram entropy" in document) == with_unigrams
