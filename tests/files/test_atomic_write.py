"""Tests t5x_lite/files/atomic_write.py"""

import os

import pytest

from t5x_lite.files.atomic_write import new_directory, write_atomically


def test_text_and_bytes_are_written_whole_and_alone(tmp_path):
    write_atomically(tmp_path / "new" / "a", "é\n")
    write_atomically(tmp_path / "new" / "b", b"\x00\xff")
    assert (tmp_path / "new" / "a").read_bytes() == b"\xc3\xa9\n"
    assert (tmp_path / "new" / "b").read_bytes() == b"\x00\xff"
    assert sorted(os.listdir(tmp_path / "new")) == ["a", "b"]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError("no space left")

    path = tmp_path / "a"
    write_atomically(path, "old")
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fail)
        with pytest.raises(OSError, match="no space left"):
            write_atomically(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a"]


def test_a_new_directory_is_there_when_it_is_whole(tmp_path):
    with new_directory(tmp_path / "a" / "b") as temporary:
        (temporary / "file").write_text("x")
        assert not (tmp_path / "a" / "b").exists()
    assert (tmp_path / "a" / "b" / "file").read_text() == "x"
    assert os.listdir(tmp_path / "a") == ["b"]


def test_a_directory_that_fails_leaves_nothing(tmp_path):
    def write():
        with new_directory(tmp_path / "b") as temporary:
            (temporary / "file").write_text("x")
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        write()
    assert os.listdir(tmp_path) == []


def test_a_directory_with_something_in_it_is_left_alone(tmp_path):
    (tmp_path / "mine").write_text("x")
    for taken in (tmp_path, tmp_path / "mine"):
        with pytest.raises(ValueError, match="exists already"), new_directory(taken):
            pass
    assert os.listdir(tmp_path) == ["mine"]
