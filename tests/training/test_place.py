"""Tests t5x_lite/training/place.py"""

import os

import pytest

from t5x_lite.training.run_dir import RunDirectory


def refused(path):
    with pytest.raises(ValueError, match=r"^run_dir|^cannot write") as error:
        RunDirectory(path).check_place()
    return str(error.value)


def test_a_file_is_no_place_for_a_run(tmp_path):
    (tmp_path / "file").write_text("")
    assert refused(tmp_path / "file") == f"run_dir {tmp_path / 'file'} is a file: name a directory"
    below = tmp_path / "file" / "a" / "run"
    assert refused(below) == f"run_dir {below} is below {tmp_path / 'file'}, a file: name a directory"


def test_a_directory_of_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("")
    assert refused(tmp_path).endswith(
        "contains 'thesis.tex' and was not made by t5x-lite: name a new or empty directory"
    )


def test_a_directory_that_cannot_be_written_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    path = tmp_path / "a" / "run"
    assert refused(path) == f"cannot write to run_dir {path}: {tmp_path} is not writable; name another directory"


def test_a_new_place_and_an_old_run_are_accepted_and_not_made(tmp_path):
    RunDirectory(tmp_path / "new" / "run").check_place()
    assert list(tmp_path.iterdir()) == []
    (tmp_path / ".lock").write_text("")
    (tmp_path / "corpus").mkdir()
    RunDirectory(tmp_path).check_place()
