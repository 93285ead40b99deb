"""Tests t5x_lite/training/run_dir.py"""

import dataclasses
import json
import subprocess
import sys

import pytest
import yaml

from t5x_lite.config import ModelOptions, RunConfig, TrainConfig
from t5x_lite.training.run_dir import RunDirectory


def test_a_run_directory_explains_itself(tmp_path):
    cfg = RunConfig(run_dir=str(tmp_path), train=TrainConfig(num_steps=7, remat=("query",)))
    with RunDirectory(tmp_path) as directory:
        directory.record(cfg)
    stored = yaml.safe_load((tmp_path / "config.yaml").read_text())
    assert stored["train"]["num_steps"] == 7
    assert stored["train"]["remat"] == ["query"]
    environment = json.loads((tmp_path / "environment.json").read_text())
    assert environment["packages"]["jax"]
    assert environment["devices"]["count"] == 8


def test_the_same_config_fits_again_and_the_length_of_the_run_may_change(tmp_path):
    cfg = RunConfig(run_dir=str(tmp_path), train=TrainConfig(remat=("query",)))
    with RunDirectory(tmp_path) as directory:
        directory.record(cfg)
    with RunDirectory(tmp_path) as directory:
        directory.check(cfg)
        directory.check(dataclasses.replace(cfg, train=TrainConfig(num_steps=9, remat=("query",))))


def test_a_field_that_must_not_change_is_named_with_both_values(tmp_path):
    with RunDirectory(tmp_path) as directory:
        directory.record(RunConfig(run_dir=str(tmp_path)))
        changed = RunConfig(run_dir=str(tmp_path), model=ModelOptions(emb_dim=256))
        with pytest.raises(ValueError, match=r"model.emb_dim is 256, but the run in .* was started with None"):
            directory.check(changed)


def test_a_second_process_is_refused_while_the_first_one_runs(tmp_path):
    code = f"from t5x_lite.training.run_dir import RunDirectory\nwith RunDirectory({str(tmp_path)!r}): pass"
    with RunDirectory(tmp_path):
        second = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "is in use by process" in second.stderr
    third = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert third.returncode == 0, third.stderr


def test_a_directory_of_somebody_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(ValueError, match=r"holds 'thesis.tex' and was not made by t5x-lite"), RunDirectory(tmp_path):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_file_in_place_of_the_directory_is_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(ValueError, match="is a file: name a directory"), RunDirectory(tmp_path / "file"):
        pass


def test_a_place_that_cannot_be_written_is_named():
    with pytest.raises(OSError, match=r"cannot write to run_dir /proc/run: .*name another"), RunDirectory("/proc/run"):
        pass


def test_a_damaged_config_is_named(tmp_path):
    with RunDirectory(tmp_path) as directory:
        (tmp_path / "config.yaml").write_text("{ not yaml")
        with pytest.raises(ValueError, match=r"config.yaml is damaged"):
            directory.check(RunConfig(run_dir=str(tmp_path)))
