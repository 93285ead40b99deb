"""Tests t5x_lite/commands/data_prepare.py"""

import dataclasses
import json

import numpy as np
import pytest

from t5x_lite.commands import data_prepare
from t5x_lite.config import RunConfig, TaskConfig, TokenizerConfig, TrainConfig
from t5x_lite.config.commands import PrepareConfig
from t5x_lite.data.corpus.prepare import prepare_corpora
from t5x_lite.data.dataset import ExampleSpec, make_examples
from t5x_lite.data.pipeline import train_batches
from t5x_lite.data.task_specs import resolve_tasks


@pytest.fixture
def task(tmp_path):
    texts = [f"document {i} " + "some more words " * (i % 7) for i in range(80)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return TaskConfig(
        source=str(tmp_path / "a.jsonl"),
        min_characters=5,
        eval_percent=20.0,
        tokenizer=TokenizerConfig(vocab_size=45, num_sentinels=10),
    )


@pytest.fixture
def directory(task, tmp_path):
    data_prepare.run(task, PrepareConfig(output=str(tmp_path / "made"), num_shards=3, num_workers=0))
    return tmp_path / "made"


def batches(task, run_dir, count=5):
    cfg = RunConfig(run_dir=str(run_dir), task=task, train=TrainConfig(inputs_length=24))
    tasks = resolve_tasks(task)
    train, held_out, *_ = make_examples(ExampleSpec.from_config(cfg, tasks), prepare_corpora(tasks, run_dir))
    stream = train_batches(train, batch_size=6, data=cfg.data)
    rows = [next(stream) for _ in range(count)] + [held_out[""](np.arange(3), np.arange(3))]
    stream.close()
    return rows


def test_training_on_prepared_text_sees_the_same_batches(task, directory, tmp_path):
    prepared = dataclasses.replace(task, prepared=str(directory))
    for raw, made in zip(batches(task, tmp_path / "raw"), batches(prepared, tmp_path / "run"), strict=True):
        for name in raw:
            np.testing.assert_array_equal(raw[name], made[name])
    assert not (tmp_path / "run" / "corpus").exists()
    assert (tmp_path / "run" / "tokenizer.model").read_bytes() == (directory / "tokenizer.model").read_bytes()


def test_the_source_is_not_needed_once_it_is_prepared(task, directory, tmp_path):
    raw = batches(task, tmp_path / "raw")
    (tmp_path / "a.jsonl").unlink()
    made = batches(TaskConfig(prepared=str(directory)), tmp_path / "run")
    np.testing.assert_array_equal(raw[0]["encoder_input_tokens"], made[0]["encoder_input_tokens"])


def test_the_manifest_records_the_text_and_its_versions(task, directory):
    manifest = json.loads((directory / "manifest.json").read_text())
    assert manifest["task"]["source"] == task.source
    assert manifest["t5x_lite"]
    assert len(manifest["tokenizer"]) == 32
    assert manifest["num_train_documents"] + manifest["num_eval_documents"] == 80
    assert len(manifest["parts"]) == 3


def test_a_finished_preparation_is_left_as_it_is(task, directory, capsys):
    before = {path.name: path.stat().st_mtime_ns for path in directory.iterdir()}
    data_prepare.run(task, PrepareConfig(output=str(directory)))
    assert {path.name: path.stat().st_mtime_ns for path in directory.iterdir()} == before
    assert f"Train on it with --task.prepared {directory}" in capsys.readouterr().err


@pytest.mark.parametrize("suffix", ["array_record", "ends.npy"])
def test_a_damaged_shard_is_named_on_opening(task, directory, tmp_path, suffix):
    path = directory / f"train-00001-of-00003.{suffix}"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"{path.name} was altered: .*: delete .*made and prepare the"):
        prepare_corpora(resolve_tasks(TaskConfig(prepared=str(directory))), tmp_path / "run")


def test_the_error_of_a_task_that_was_not_prepared_names_the_field(task, directory, tmp_path):
    other = dataclasses.replace(task, prepared=str(directory), min_characters=9)
    with pytest.raises(ValueError, match=r"task.min_characters is 9, but the text in .*made was prepared with 5"):
        prepare_corpora(resolve_tasks(other), tmp_path / "run")
    with pytest.raises(ValueError, match=r"task.min_characters is 9, but the text in .*made was prepared with 5"):
        data_prepare.run(dataclasses.replace(task, min_characters=9), PrepareConfig(output=str(directory)))


def test_a_different_tokenizer_from_the_runs_is_refused(task, directory, tmp_path):
    prepare_corpora(resolve_tasks(TaskConfig(prepared=str(directory))), tmp_path / "run")
    (tmp_path / "run" / "vocabulary.json").write_text('{"kind": "bytes", "num_sentinels": 9}')
    with pytest.raises(ValueError, match=r"was tokenised with a different tokenizer from the one in .*run"):
        prepare_corpora(resolve_tasks(TaskConfig(prepared=str(directory))), tmp_path / "run")


def test_an_unfinished_preparation_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"task.prepared .*nowhere is not a finished preparation: make one with"):
        prepare_corpora(resolve_tasks(TaskConfig(prepared=str(tmp_path / "nowhere"))), tmp_path / "run")


def test_shards_of_another_format_are_refused(directory, tmp_path):
    manifest = json.loads((directory / "manifest.json").read_text())
    (directory / "manifest.json").write_text(json.dumps(manifest | {"format": 99}))
    with pytest.raises(ValueError, match=r"manifest.json has format 99, and t5x_lite .* reads 1: delete"):
        prepare_corpora(resolve_tasks(TaskConfig(prepared=str(directory))), tmp_path / "run")


def test_an_output_with_other_files_is_refused_and_kept(task, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"--output .* holds other files: name a new or empty directory"):
        data_prepare.run(task, PrepareConfig(output=str(tmp_path)))
    with pytest.raises(ValueError, match=r"--output .*mine.txt is a file: name a directory"):
        data_prepare.run(task, PrepareConfig(output=str(tmp_path / "mine.txt")))
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_a_preparation_is_not_prepared_again(directory, tmp_path):
    with pytest.raises(ValueError, match=r"task.prepared is .*made: leave it out"):
        data_prepare.run(TaskConfig(prepared=str(directory)), PrepareConfig(output=str(tmp_path / "again")))


def test_the_source_is_not_written_into(task, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "b.txt").write_text("mine")
    for source, output in (("in", "in/new"), ("in", "link/new"), ("link", "in/new")):
        inside = dataclasses.replace(task, source=str(tmp_path / source))
        with pytest.raises(ValueError, match=r"--output .* is inside .*, which is read: name a directory elsewhere"):
            data_prepare.run(inside, PrepareConfig(output=str(tmp_path / output)))
    assert [path.name for path in (tmp_path / "in").iterdir()] == ["b.txt"]


def test_a_source_inside_prepared_text_is_kept(task, directory):
    (directory / "more.jsonl").write_text('{"text": "mine"}\n')
    inside = dataclasses.replace(task, source=str(directory / "more.jsonl"))
    with pytest.raises(ValueError, match=r"--output .* holds .*more.jsonl, which is read"):
        data_prepare.run(inside, PrepareConfig(output=str(directory)))
