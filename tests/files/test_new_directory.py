"""Tests t5x_lite/files/new_directory.py"""

import os

import pytest

from t5x_lite.files.new_directory import new_directory


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
