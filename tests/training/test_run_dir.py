"""Tests t5x_lite/training/run_dir.py"""

import dataclasses
import json
import subprocess
import sys

import pytest
import yaml

from t5x_lite.commands.options import make_parser
from t5x_lite.config import ModelOptions, RunConfig, TaskConfig, TrainConfig
from t5x_lite.training.run_dir import RunDirectory
from tests.paths import ROOT


def test_a_run_directory_records_its_config_and_environment(tmp_path):
    cfg = RunConfig(run_dir=str(tmp_path), train=TrainConfig(num_steps=7, remat=("query",)))
    with RunDirectory(tmp_path) as directory:
        directory.record(cfg, 0)
    stored = yaml.safe_load((tmp_path / "config.yaml").read_text())
    assert stored["train"]["num_steps"] == 7
    assert stored["train"]["remat"] == ["query"]
    environment = json.loads((tmp_path / "environment.json").read_text())
    assert environment["packages"]["jax"]
    assert environment["devices"]["count"] == 8
    assert bool(environment["commit"]) == (ROOT / ".git").exists()


def test_every_start_is_appended_to_the_environment_whose_other_keys_are_of_the_last_one(tmp_path):
    cfg = RunConfig(run_dir=str(tmp_path), train=TrainConfig(num_steps=7))
    with RunDirectory(tmp_path) as directory:
        for step in (0, 3, 5):
            directory.record(cfg, step)
    recorded = json.loads((tmp_path / "environment.json").read_text())
    starts, _ = recorded.pop("starts"), recorded.pop("checksum")
    assert [start["step"] for start in starts] == [0, 3, 5]
    assert recorded == starts[-1]
    assert {"started", "command", "commit", "host", "packages", "devices"} <= starts[0].keys()
    assert starts[0]["devices"]["processes"] == 1


def test_the_start_that_an_older_version_recorded_is_kept(tmp_path):
    with RunDirectory(tmp_path) as directory:
        (tmp_path / "environment.json").write_text('{"started": "2025-01-01", "python": "3.11.1"}')
        directory.record(RunConfig(run_dir=str(tmp_path)), 5)
    first, second = json.loads((tmp_path / "environment.json").read_text())["starts"]
    assert first == {"started": "2025-01-01", "python": "3.11.1"}
    assert second["step"] == 5


def test_a_damaged_environment_is_kept(tmp_path):
    with RunDirectory(tmp_path) as directory:
        (tmp_path / "environment.json").write_text("{")
        with pytest.raises(ValueError, match=r"environment.json is damaged"):
            directory.record(RunConfig(run_dir=str(tmp_path)), 5)
    assert (tmp_path / "environment.json").read_text() == "{"
    assert not (tmp_path / "config.yaml").exists()


def test_a_config_with_a_history_starts_another_run_without_it(tmp_path):
    cfg = RunConfig(run_dir=str(tmp_path), train=TrainConfig(num_steps=7))
    with RunDirectory(tmp_path) as directory:
        directory.record(cfg, 0)
        (directory.checkpoints / "5").mkdir(parents=True)
        directory.record(dataclasses.replace(cfg, seed=4), 5)
    assert "history" in yaml.safe_load((tmp_path / "config.yaml").read_text())
    read = make_parser("train").parse_args(["train", "--config", str(tmp_path / "config.yaml")]).train
    assert read.seed == 4
    assert "history" not in read


def test_the_recorded_config_is_read_again_as_the_same(tmp_path):
    texts = ("1e3", "0o17", "yes", "01", "~", "#a", "12:30", "é", "a\u2028b")
    task = TaskConfig(source="d", inputs="1e3", targets="null", labels=texts, choices={text: text for text in texts})
    cfg = RunConfig(run_dir=str(tmp_path), task=task)
    with RunDirectory(tmp_path) as directory:
        directory.record(cfg, 0)
        directory.check(cfg)
    read = make_parser("train").parse_args(["train", "--config", str(tmp_path / "config.yaml")]).train
    assert (read.task.inputs, read.task.targets) == ("1e3", "null")
    assert read.task.labels == texts
    assert read.task.choices == task.choices


def test_a_run_may_resume_with_the_same_config_or_more_steps(tmp_path):
    cfg = RunConfig(run_dir=str(tmp_path), train=TrainConfig(remat=("query",)))
    with RunDirectory(tmp_path) as directory:
        directory.record(cfg, 0)
    with RunDirectory(tmp_path) as directory:
        directory.check(cfg)
        directory.check(dataclasses.replace(cfg, train=TrainConfig(num_steps=9, remat=("query",))))


def test_a_changed_field_is_named_with_both_values(tmp_path):
    with RunDirectory(tmp_path) as directory:
        directory.record(RunConfig(run_dir=str(tmp_path)), 0)
        (directory.checkpoints / "5").mkdir(parents=True)
        changed = RunConfig(run_dir=str(tmp_path), model=ModelOptions(emb_dim=256))
        with pytest.raises(ValueError, match=r"model.emb_dim is 256, but the run in .* was started with null"):
            directory.check(changed)


def test_a_run_from_before_there_were_revisions_goes_on_with_revision_1(tmp_path):
    with RunDirectory(tmp_path) as directory:
        directory.record(RunConfig(run_dir=str(tmp_path)), 0)
        (directory.checkpoints / "5").mkdir(parents=True)
        stored = yaml.safe_load((tmp_path / "config.yaml").read_text())
        del stored["revision"], stored["optimizer"]["factored"]
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(stored))
        directory.check(RunConfig(run_dir=str(tmp_path), revision=1))
        with pytest.raises(ValueError, match=r"revision is 2, but the run in .* was started with 1"):
            directory.check(RunConfig(run_dir=str(tmp_path), revision=2))


@pytest.mark.slow
def test_a_second_process_is_refused(tmp_path):
    code = f"from t5x_lite.training.run_dir import RunDirectory\nwith RunDirectory({str(tmp_path)!r}): pass"
    with RunDirectory(tmp_path):
        second = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "is in use by process" in second.stderr
    third = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert third.returncode == 0, third.stderr


def test_an_unrelated_directory_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(ValueError, match=r"contains 'thesis.tex' and was not made by t5x-lite"), RunDirectory(tmp_path):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(ValueError, match="is a file: name a directory"), RunDirectory(tmp_path / "file"):
        pass


def test_an_unwritable_directory_is_named():
    with pytest.raises(OSError, match=r"cannot write to run_dir /proc/run: .*name another"), RunDirectory("/proc/run"):
        pass


def test_a_corrupt_config_is_named(tmp_path):
    with RunDirectory(tmp_path) as directory:
        (tmp_path / "config.yaml").write_text("{ not yaml")
        with pytest.raises(ValueError, match=r"config.yaml is corrupt"):
            directory.check(RunConfig(run_dir=str(tmp_path)))
