"""Tests t5x_lite/data/sources/index.py"""

import mmap
import os

import numpy as np
import pytest

from t5x_lite.data.sources import index
from t5x_lite.data.sources.index import indexed_spans
from t5x_lite.data.sources.spans import Spans, find_lines

CONTENT = "one\ntwo\n\nfour\n"


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.setattr(index, "FEWEST_BYTES", len(CONTENT))
    (tmp_path / "a.txt").write_text(CONTENT)
    return tmp_path / "a.txt"


def find(path):
    with path.open("rb") as file:
        return find_lines(file)


def memory_of(values):
    while isinstance(values, np.ndarray):
        values = values.base
    return values


def never():
    pytest.fail("read through again")


def same(spans, others):
    return all(np.array_equal(values, more) for values, more in zip(spans, others, strict=True))


def test_a_large_file_is_read_through_once_and_then_mapped(path, tmp_path):
    first = indexed_spans(path, "lines", tmp_path / "cache", lambda: find(path))
    second = indexed_spans(path, "lines", tmp_path / "cache", never)
    assert same(first, find(path))
    assert same(second, find(path))
    assert second.line.tolist() == [1, 2, 4]
    assert all(isinstance(memory_of(values), mmap.mmap) for spans in (first, second) for values in spans)


def test_an_index_is_that_of_a_kind_of_record(path, tmp_path):
    indexed_spans(path, "lines", tmp_path, lambda: find(path))
    other = Spans(*np.array([[0], [3], [1]]))
    assert indexed_spans(path, "file", tmp_path, lambda: other) is not None
    assert len(indexed_spans(path, "file", tmp_path, never).begin) == 1
    assert len(indexed_spans(path, "lines", tmp_path, never).begin) == 3


def test_a_small_file_has_no_index(path, tmp_path, monkeypatch):
    monkeypatch.setattr(index, "FEWEST_BYTES", len(CONTENT) + 1)
    assert same(indexed_spans(path, "lines", tmp_path / "cache", lambda: find(path)), find(path))
    assert not (tmp_path / "cache").exists()


def test_a_file_that_has_changed_is_read_through_again(path, tmp_path):
    indexed_spans(path, "lines", tmp_path / "cache", lambda: find(path))
    path.write_text("1\n2\n3\n4\n5\n6\n7\n8\n")
    os.utime(path, ns=(0, 12_345))
    assert len(indexed_spans(path, "lines", tmp_path / "cache", lambda: find(path)).begin) == 8


@pytest.mark.parametrize("damage", [b"", b"no index", "cut", "another type", "another shape"])
def test_a_damaged_index_is_made_again(path, tmp_path, damage):
    indexed_spans(path, "lines", tmp_path / "cache", lambda: find(path))
    (file,) = (tmp_path / "cache").iterdir()
    whole = file.read_bytes()
    match damage:
        case "cut":
            file.write_bytes(whole[:-1])
        case "another type":
            with file.open("wb") as out:
                np.save(out, np.zeros((3, 3), np.float64))
        case "another shape":
            with file.open("wb") as out:
                np.save(out, np.zeros((4, 3), np.int64))
        case _:
            file.write_bytes(damage)
    assert same(indexed_spans(path, "lines", tmp_path / "cache", lambda: find(path)), find(path))
    assert file.read_bytes() == whole


def test_where_no_index_can_be_written_there_is_none(path, tmp_path):
    (tmp_path / "cache").write_text("a file where a directory should be")
    for _ in range(2):
        assert same(indexed_spans(path, "lines", tmp_path / "cache", lambda: find(path)), find(path))


def test_a_large_file_without_records_is_no_error(path, tmp_path):
    path.write_text("\n" * len(CONTENT))
    for _ in range(2):
        assert len(indexed_spans(path, "lines", tmp_path / "cache", lambda: find(path)).begin) == 0
