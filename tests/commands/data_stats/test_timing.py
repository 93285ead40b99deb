"""Tests t5x_lite/commands/data_stats/timing.py"""

import json

import pytest

from t5x_lite.commands.data_stats import timing
from t5x_lite.config import RunConfig, TaskConfig, TokenizerConfig
from t5x_lite.data.corpus.prepare import prepare_corpora
from t5x_lite.data.corpus.tokenize import Preparation, tokenize_portions
from t5x_lite.data.task_specs import resolve_tasks
from t5x_lite.data.tokenizers.bytes import ByteTokenizer
from t5x_lite.training.resolve import resolve_run
from t5x_lite.training.run_dir import RunDirectory


class Clock:
    """A stopwatch whose every lap takes a second more than the one before."""

    def __init__(self):
        self.laps = 0

    def lap(self):
        self.laps += 1
        return float(self.laps)


@pytest.fixture
def task(tmp_path):
    lines = [json.dumps({"text": "some words of a document " + str(i)}) for i in range(40)]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    return TaskConfig(
        source=str(tmp_path / "a.jsonl"), min_characters=3, eval_percent=30, tokenizer=TokenizerConfig(kind="bytes")
    )


@pytest.fixture
def preparation(task, tmp_path):
    (tmp_path / "made").mkdir()
    ByteTokenizer().save(tmp_path / "made")
    return Preparation(task, tmp_path / "made", tmp_path / "made")


def test_timing_changes_nothing_of_what_is_made(preparation, task, tmp_path):
    parts, _ = timing.tokenize_timed(preparation)
    assert parts == tokenize_portions(preparation, preparation.portions())


def test_opening_reading_and_tokenising_are_timed_apart(preparation, monkeypatch):
    monkeypatch.setattr(timing, "Stopwatch", Clock)
    _, made = timing.tokenize_timed(preparation)  # laps of 1, 2 and 3 seconds
    assert made == timing.Making(1.0, 2.0, 0.0)  # reading again cannot have taken longer than the first time


def test_reading_is_estimated_from_the_part_that_is_read_again(preparation, monkeypatch):
    class Laps(Clock):
        def lap(self):
            return {1: 1.0, 2: 30.0, 3: 2.0}[int(super().lap())]

    monkeypatch.setattr(timing, "Stopwatch", Laps)
    monkeypatch.setattr(timing, "READ_CHARACTERS", 26 * 4)  # of the first ten documents, which have 26 characters
    parts, made = timing.tokenize_timed(preparation)
    assert sum(part["num_characters"] for part in parts) == 26 * 10 + 27 * 30
    assert made.reading_s == pytest.approx(2.0 * (26 * 10 + 27 * 30) / (26 * 4))
    assert made.reading_s + made.tokenising_s == pytest.approx(30.0)


def test_only_what_is_made_here_is_timed(task, tmp_path):
    cfg = RunConfig(run_dir=str(tmp_path / "run"), task=task)
    corpora, timed = timing.prepare_timed(resolve_run(cfg))
    assert list(timed.making) == [str(tmp_path / "run" / "corpus")]
    assert timed.vocabulary_s is not None
    again, untimed = timing.prepare_timed(resolve_run(cfg))
    assert (untimed.making, untimed.vocabulary_s) == ({}, None)
    assert len(again[""].train.tokens) == len(corpora[""].train.tokens)


def test_the_vocabulary_is_timed_apart_from_the_text(task, tmp_path, monkeypatch):
    monkeypatch.setattr(timing, "Stopwatch", Clock)  # one second in all, and the same second in making the text
    _, timed = timing.prepare_timed(resolve_run(RunConfig(run_dir=str(tmp_path / "run"), task=task)))
    assert timed.vocabulary_s == 0.0


def test_the_text_is_that_of_a_training(task, tmp_path):
    with RunDirectory(tmp_path / "trained") as directory:
        prepare_corpora(resolve_tasks(task), directory.path)
    timing.prepare_timed(resolve_run(RunConfig(run_dir=str(tmp_path / "run"), task=task)))
    names = sorted(path.name for path in (tmp_path / "trained" / "corpus").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "run" / "corpus").iterdir())
    for name in names:
        trained, run = (tmp_path / home / "corpus" / name for home in ("trained", "run"))
        assert trained.read_bytes() == run.read_bytes()


def test_a_directory_in_use_is_not_written_to(task, tmp_path):
    cfg = RunConfig(run_dir=str(tmp_path / "run"), task=task)
    with RunDirectory(cfg.run_dir), pytest.raises(ValueError, match="is in use by"):
        timing.prepare_timed(resolve_run(cfg))
