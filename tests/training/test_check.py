"""Tests t5x_lite/training/check.py"""

import dataclasses
import json
import os

import pytest

from t5x_lite.cli import main
from t5x_lite.config import TaskConfig, TokenizerConfig
from t5x_lite.training.check import check
from tests import runs


def test_a_check_tells_the_shape_of_the_run_and_writes_nothing(tmp_path):
    lines = check(runs.config(tmp_path / "runs" / "new")).splitlines()
    assert "No mistake found in the config, run_dir" in lines[0]
    assert "(new)" in lines[0]
    assert lines[0].endswith("the first records of the docstrings of optax")
    assert "batch    8 sequences of 32 encoder and 8 decoder tokens, in 1 microbatches, on data 8" in lines[2]
    assert "8 steps of adafactor, constant learning rate 0.02" in lines[3]
    assert list(tmp_path.iterdir()) == []


def test_a_check_exits_with_0_or_2(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with open("pairs.jsonl", "w") as file:
        file.writelines(json.dumps({"n": n, "m": n + 1}) + "\n" for n in range(60))
    options = {"source": "pairs.jsonl", "inputs": "{n}", "targets": "{m}", "tokenizer.kind": "bytes"}
    command = ["train", "--check", "--run_dir", "run", "--train.targets_length", "7", "--model.num_heads", "1"]
    command += [word for name, value in options.items() for word in (f"--task.{name}", value)]
    assert main(command) == 0
    assert "decoder" in capsys.readouterr().out
    assert main([*command, "--task.inputs", "{k}"]) == 2
    assert "has no field 'k'" in capsys.readouterr().err
    assert os.listdir() == ["pairs.jsonl"]


def test_a_vocabulary_that_is_still_to_be_trained_is_not(tmp_path):
    task = TaskConfig(packages=("optax",), tokenizer=TokenizerConfig(vocab_size=300))
    shown = check(dataclasses.replace(runs.config(tmp_path / "run"), task=task))
    assert "M parameters in float32: encoder_decoder, from t5_1_1_small" in shown


def test_the_first_mistake_is_an_error(tmp_path):
    cfg = runs.config(tmp_path / "run", batch_size=7)
    with pytest.raises(ValueError, match=r"train\.batch_size is 7, which is not divisible"):
        check(cfg)
