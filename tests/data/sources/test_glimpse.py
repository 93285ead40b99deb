"""Tests t5x_lite/data/sources/glimpse.py"""

import gzip
import itertools
import json

import pyarrow
import pyarrow.parquet
import pytest

from t5x_lite.config import TaskConfig
from t5x_lite.data.sources import glimpse
from t5x_lite.data.sources.glimpse import few_of_each

WORDS = [f"number {i}" for i in range(40)]
JSON = "".join(json.dumps({"word": word}) + "\n" for word in WORDS)
FILES = {
    "a.jsonl": JSON.encode(),
    "a.jsonl.gz": gzip.compress(JSON.encode()),
    "a.csv": ("word,rest\n" + "".join(f'{word},"x\ny"\n' for word in WORDS)).encode(),
    "a.txt": "\n".join(WORDS).encode(),
}


def glimpsed(folder, names, **fields):
    """The first fields of the records that are read, by source."""
    paths = [str(folder / name) for name in names]
    found = few_of_each(TaskConfig(source=tuple(paths), **fields), paths, "task.source", folder)
    return [[next(iter(row.record.values())) for row in source.read(range(count))] for source, count in found]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(glimpse, "WHOLE_BYTES", 200)
    for name, content in FILES.items():
        (tmp_path / name).write_bytes(content)
    table = pyarrow.table({"word": WORDS})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    return tmp_path


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.csv", "a.parquet"])
def test_the_first_records_of_a_large_file_are_read_whole(folder, name):
    (words,) = glimpsed(folder, [name])
    assert 5 < len(words) < len(WORDS)
    assert words == WORDS[: len(words)]


def test_a_large_text_is_read_up_to_a_line(folder):
    ((text,),) = glimpsed(folder, ["a.txt"])
    assert 100 < len(text) <= 200
    assert text.splitlines() == WORDS[: len(text.splitlines())]


def test_one_file_of_each_kind_is_read(folder):
    (folder / "b.csv").write_bytes(FILES["a.csv"])
    assert len(glimpsed(folder, ["a.csv", "b.csv", "a.jsonl"])) == 2


def test_nothing_large_is_unpacked(folder):
    glimpsed(folder, ["a.jsonl.gz", "a.parquet"])
    (copy,) = set(folder.iterdir()) - {folder / name for name in (*FILES, "a.parquet")}
    assert copy.stat().st_size <= glimpse.WHOLE_BYTES


def test_a_small_source_is_read_as_a_whole(folder, monkeypatch):
    monkeypatch.setattr(glimpse, "WHOLE_BYTES", 10_000)
    ((source, count),) = few_of_each(TaskConfig(), [str(folder / "a.jsonl")], "task.source", folder)
    assert (len(source), count) == (len(WORDS), None)


def test_an_empty_file_is_refused_unless_bad_records_are_skipped(folder):
    (folder / "b.jsonl").write_text("")
    with pytest.raises(ValueError, match=r"b\.jsonl is empty: fill or remove it, or set task\.bad_records to skip"):
        glimpsed(folder, ["a.jsonl", "b.jsonl"])
    assert len(glimpsed(folder, ["a.jsonl", "b.jsonl"], bad_records="skip")) == 1


def test_python_functions_are_not_called_and_lists_are_read(monkeypatch):
    monkeypatch.setattr(itertools, "WORDS", [{"word": "a"}], raising=False)
    names = ["itertools:WORDS", "itertools:count", "hf:owner/name@train"]
    ((source, count),) = few_of_each(TaskConfig(), names, "task.source", None)
    assert (len(source), count) == (1, glimpse.FEW_RECORDS)
