"""Tests t5x_lite/training/preflight.py"""

import collections
import dataclasses
import pathlib
import shutil

import pytest

from t5x_lite.config import CheckpointConfig, ModelOptions, OptimizerConfig, TaskConfig, TokenizerConfig
from t5x_lite.data.corpus import prepare
from t5x_lite.training import loop
from t5x_lite.training.preflight import check_space, check_start, checkpoint_bytes, expected_program, programs_of
from t5x_lite.training.resolve import resolve_run
from t5x_lite.training.run_dir import RunDirectory
from tests import runs

TEXT = TaskConfig(packages=("optax",), tokenizer=TokenizerConfig(vocab_size=400))
LARGE_VOCABULARY = {"task": dataclasses.replace(TEXT, tokenizer=TokenizerConfig(vocab_size=9_999))}
BYTES = TokenizerConfig(kind="bytes")
WRONG = {
    "preset": ({"model": ModelOptions(preset="t5_1_1_smal")}, {}, "use one of t5_1_1_small"),
    "targets": ({}, {"targets_length": 2}, r"train\.targets_length is 2, but train\.inputs_length 32 yields 8 targets"),
    "inputs": ({}, {"inputs_length": 1}, r"train\.inputs_length is 1"),
    "batch": ({}, {"batch_size": 12}, r"train\.batch_size is 12, which is not divisible"),
    "metrics": ({"task": dataclasses.replace(TEXT, metrics=("accurcy",))}, {}, "'accurcy', which is not a metric"),
    "optimizer": ({"optimizer": OptimizerConfig(factored={"nothing": "none", ".*": "large"})}, {}, "'nothing'"),
    "schedule": ({"optimizer": OptimizerConfig(schedule="linear", warmup_steps=9)}, {}, "use fewer warmup steps"),
    "vocabulary": ({"task": dataclasses.replace(TEXT, tokenizer=TokenizerConfig(path="none.model"))}, {}, "not exist"),
}


def config(run_dir, changes=None, train=None):
    cfg = runs.config(run_dir, **(train or {}))
    return dataclasses.replace(cfg, **{"task": TEXT} | (changes or {}))


@pytest.mark.parametrize("name", WRONG)
def test_a_mistake_is_found_before_anything_is_made(tmp_path, monkeypatch, name):
    monkeypatch.setattr(loop, "prepare_corpora", None)
    changes, train, message = WRONG[name]
    with pytest.raises((ValueError, OSError), match=message):
        loop.train(config(tmp_path / "new" / "run", changes, train))
    assert list(tmp_path.iterdir()) == []


def test_pairs_that_a_metric_cannot_use_are_found_before_anything_is_made(tmp_path):
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(f'{{"a": "{n}", "b": "yes"}}\n' for n in range(40)))
    task = TaskConfig(source=str(rows), inputs="{a}", targets="{b}", tokenizer=BYTES, eval_percent=40.0)
    task = dataclasses.replace(task, metrics=("rank_classification",))
    with pytest.raises(ValueError, match="needs a group for each example"):
        loop.train(config(tmp_path / "run", {"task": task}, {"targets_length": 8}))
    assert list(tmp_path.iterdir()) == [rows]


def test_a_start_that_fails_later_leaves_no_directory(tmp_path):
    cfg = config(
        tmp_path / "new" / "run", {"task": dataclasses.replace(TEXT, tokenizer=TokenizerConfig(vocab_size=9_999))}
    )
    with pytest.raises(ValueError, match="cannot train a vocabulary"):
        loop.train(cfg)
    assert list(tmp_path.iterdir()) == []


def test_what_was_there_before_a_failed_start_stays(tmp_path):
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    cfg = config(run_dir, LARGE_VOCABULARY)
    with pytest.raises(ValueError, match="cannot train a vocabulary"):
        loop.train(cfg)
    assert list(tmp_path.iterdir()) == [run_dir]
    (run_dir / ".lock").write_text("")
    (run_dir / "notes").write_text("mine")
    with pytest.raises(ValueError, match="cannot train a vocabulary"):
        loop.train(cfg)
    assert (run_dir / "notes").read_text() == "mine"


def test_the_program_that_is_expected_is_the_one_that_is_trained(tmp_path):
    run = resolve_run(config(tmp_path))
    programs = programs_of(run)
    assert expected_program(run, None, programs) is programs(512, (0, 1), 8)


def test_a_disk_without_room_for_the_checkpoints_is_refused(tmp_path, monkeypatch):
    run = resolve_run(config(tmp_path / "run", {"checkpoint": CheckpointConfig(every_steps=3, keep=2)}))
    directory, shapes = RunDirectory(tmp_path / "run"), expected_program(run, None, programs_of(run)).shapes
    disk, size = collections.namedtuple("Disk", "free"), checkpoint_bytes(shapes)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: disk(free=3 * size))  # one beside those kept
    check_space(shapes, run.config, directory)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: disk(free=3 * size - 1))
    with pytest.raises(ValueError, match=r"up to 3 checkpoints of 0\.0 GB, .*: free some space, lower checkpoint"):
        check_space(shapes, run.config, directory)
    (directory.checkpoints / "3").mkdir(parents=True)
    (directory.checkpoints / "3" / "array").write_bytes(b"x")  # which the run may replace
    check_space(shapes, run.config, directory)


def test_a_pair_task_needs_a_targets_length(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"a": "b"}\n' * 60)
    task = TaskConfig(source=str(tmp_path / "a.jsonl"), inputs="{a}", targets="{a}", tokenizer=BYTES)
    with pytest.raises(ValueError, match=r"train\.targets_length is null, but a task with task\.targets needs it"):
        check_start(resolve_run(config(tmp_path / "run", {"task": task})), RunDirectory(tmp_path / "run"))


def test_text_that_is_prepared_is_not_read_again(tmp_path, monkeypatch):
    run_dir = pathlib.Path(tmp_path / "run")
    (tmp_path / "a.txt").write_text("\n".join(f"this is line {i} of the text" for i in range(300)))
    task = TaskConfig(source=str(tmp_path / "a.txt"), text_unit="line", min_characters=1, tokenizer=BYTES)
    run = resolve_run(config(run_dir, {"task": task}))
    with RunDirectory(run_dir) as directory:
        prepare.prepare_corpora(run.tasks, run_dir)
    (tmp_path / "a.txt").unlink()
    check_start(run, directory)
