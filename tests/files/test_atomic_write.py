"""Tests t5x_lite/files/atomic_write.py"""

import os

import pytest

from t5x_lite.files.atomic_write import write_atomically


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
