"""Tests t5x_lite/data/sources/__init__.py"""

import json

import pytest

from t5x_lite.config import TaskConfig
from t5x_lite.data.sources import named, open_source
from t5x_lite.data.sources.base import BadRecord
from t5x_lite.data.sources.docstrings import read_docstrings
from tests.data.sources.reading import read, where

TASK = TaskConfig(min_characters=0)
SKIP = TaskConfig(min_characters=0, bad_records="skip")


def write(path, *records):
    path.write_text("".join(json.dumps({"text": record}) + "\n" for record in records))
    return str(path)


def test_all_sources_are_one_after_the_other(tmp_path, monkeypatch):
    (tmp_path / "own_records.py").write_text("RECORDS = ['three', 'four']\n")
    monkeypatch.syspath_prepend(tmp_path)
    names = ("own_records:RECORDS", write(tmp_path / "b.jsonl", "two"), write(tmp_path / "a.jsonl", "one"))
    source, skipped = open_source(TASK, names, tmp_path / "cache")
    assert [record["text"] for record in read(source)] == ["three", "four", "two", "one"]
    assert where(source, 3)[0].endswith("a.jsonl line 1")
    assert skipped == []


def test_docstrings_are_a_source(tmp_path):
    task = TaskConfig(packages=("json",), min_characters=50)
    source, _ = open_source(task, "docstrings", tmp_path)
    assert [record["text"] for record in read(source)] == list(read_docstrings(("json",), 50))


def test_an_empty_file_is_an_error_or_is_reported(tmp_path):
    empty, full = write(tmp_path / "empty.jsonl"), write(tmp_path / "full.jsonl", "one")
    with pytest.raises(BadRecord, match=r"empty.jsonl is empty: fill or remove it; or set task.bad_records to skip"):
        open_source(TASK, (empty, full), tmp_path)
    source, skipped = open_source(SKIP, (empty, full), tmp_path)
    assert len(source) == 1
    assert "empty.jsonl is empty" in skipped[0]


def test_a_source_without_records_is_refused(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="has no records: its files are empty"):
        open_source(SKIP, write(tmp_path / "empty.jsonl"), tmp_path)
    (tmp_path / "no_records.py").write_text("NONE = []\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match=r"task.source no_records:NONE has no records: it is empty"):
        open_source(TASK, "no_records:NONE", tmp_path)


@pytest.mark.parametrize(
    "name", ["absent/*.txt", "a.pdf", "empty", "absent_module:NAME", "tfds:no_such_set", "hf:no_such_set", "empty.txt"]
)
def test_errors_name_the_field_that_names_the_source(tmp_path, monkeypatch, name):
    (tmp_path / "empty").mkdir()
    for file in ("a.pdf", "empty.txt"):
        (tmp_path / file).write_text("")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"^task.eval_source .*"):
        open_source(SKIP, name, tmp_path / "cache", field="task.eval_source")


def test_several_names_are_joined():
    assert named("a.txt") == "a.txt"
    assert named(("a.txt", "b.txt")) == "a.txt, b.txt"
