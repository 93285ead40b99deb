"""Tests t5x_lite/data/sources/named_files.py"""

import pytest

from t5x_lite.config import TaskConfig
from t5x_lite.data.sources.named_files import source_files, task_files


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "in").mkdir()
    for name in ("a.jsonl", "b.txt", "c"):
        (tmp_path / "in" / name).touch()
    return tmp_path / "in"


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("in/b.txt", ["b.txt"]),
        ("~/in/*.jsonl", ["a.jsonl"]),
        (("in", "docstrings"), ["a.jsonl", "b.txt", "in"]),
        ("hf:~/in@train", ["a.jsonl", "b.txt", "c", "in"]),
        ("hf:in", ["a.jsonl", "b.txt", "c", "in"]),
        ("hf:owner/name@train", []),
        ("tfds:glue/cola@train", []),
        ("t5x_lite.tasks.glue:COLA", []),
    ],
)
def test_the_files_of_each_kind_of_source_are_found(folder, names, expected):
    assert sorted(path.name for path in source_files(names)) == expected


def test_plain_files_are_found_where_they_are_read(folder):
    assert [path.name for path in source_files("in/c", "--input", any_type=True)] == ["c"]
    with pytest.raises(ValueError, match=r"task.source names in/c, whose type is unknown"):
        source_files("in/c")


def test_a_task_has_the_files_of_its_sources_that_still_exist(folder):
    assert [path.name for path in task_files(TaskConfig(source="in/b.txt", eval_source="gone.txt"))] == ["b.txt"]
