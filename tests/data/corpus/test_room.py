"""Tests t5x_lite/data/corpus/room.py"""

import collections
import gzip
import os
import shutil

import pytest

from t5x_lite.config import TaskConfig, TokenizerConfig
from t5x_lite.data.corpus import room
from t5x_lite.data.corpus.prepare import prepare_corpora
from t5x_lite.data.corpus.room import check_room
from t5x_lite.data.corpus.shards import ShardWriter
from t5x_lite.data.corpus.tokenize import Preparation
from t5x_lite.data.task_specs import resolve_tasks
from t5x_lite.data.tokenizers.bytes import ByteTokenizer
from t5x_lite.files.full_disk import FullDisk

Usage = collections.namedtuple("Usage", "free")
LINES = [f"line {number} of text" for number in range(10, 99)]  # all of one length
NUM_BYTES = 2 * sum(map(len, LINES))


@pytest.fixture
def tasks(tmp_path):
    (tmp_path / "text.txt.gz").write_bytes(gzip.compress("\n".join(LINES).encode()))
    task = TaskConfig(
        source=str(tmp_path / "text.txt.gz"),
        text_unit="line",
        min_characters=1,
        eval_percent=20.0,
        tokenizer=TokenizerConfig(kind="bytes"),
    )
    return resolve_tasks(task)


def files(directory):
    return {path.name for path in directory.rglob("*") if path.is_file()}


def preparation(tasks, directory):
    ByteTokenizer().save(directory)
    return Preparation(tasks.whole, directory, directory)


def test_text_whose_ids_do_not_fit_is_refused(tasks, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(free=NUM_BYTES - 1))
    with pytest.raises(FullDisk, match=r"^tokenising task.source needs 2.7 KB, but .*/run has 2.7 KB free; free some"):
        check_room(preparation(tasks, tmp_path / "run"))


def test_text_that_fits_is_not_refused(tasks, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(free=NUM_BYTES))
    check_room(preparation(tasks, tmp_path / "run"))


def test_what_a_stopped_preparation_has_written_needs_no_more_space(tasks, tmp_path, monkeypatch):
    stopped = preparation(tasks, tmp_path / "run")
    stopped.open("source")  # which unpacks it
    (tmp_path / "run" / "train-00000-of-00003.ids").write_bytes(bytes(NUM_BYTES - 40))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(free=40))
    check_room(stopped)


def test_a_run_looks_at_the_disk_before_it_tokenises(tasks, tmp_path, monkeypatch):
    found = []
    monkeypatch.setattr(room, "check_space", lambda directory, *_: found.extend(files(directory)))
    prepare_corpora(tasks, tmp_path / "run")
    assert found
    assert not [name for name in found if name.startswith("train")]


@pytest.mark.parametrize("error", [ValueError("refused"), OSError("unwritable")])
def test_what_was_unpacked_is_removed_if_the_text_is_refused(tasks, tmp_path, monkeypatch, error):
    def refuse(*_):
        assert os.listdir(tmp_path / "run" / "corpus" / "sources")
        raise error

    monkeypatch.setattr(ShardWriter, "add", refuse)
    with pytest.raises(type(error), match=str(error)):
        prepare_corpora(tasks, tmp_path / "run")
    assert files(tmp_path / "run") == {"manifest.json", "vocabulary.json"}


def test_a_disk_that_fills_up_is_named_and_nothing_half_written_is_left(tasks, tmp_path, monkeypatch):
    def full(*_):
        raise RuntimeError("write() failed: No space left on device; writing it; at byte 0")

    with monkeypatch.context() as patched:
        patched.setattr(ShardWriter, "_write", full)
        with pytest.raises(FullDisk, match=rf"cannot write {tmp_path}/run/corpus: No space left on device; free some"):
            prepare_corpora(tasks, tmp_path / "run")
    assert files(tmp_path / "run") == {"manifest.json", "vocabulary.json"}
