"""Tests t5x_lite/data/sources/state.py"""

import os

import pytest

from t5x_lite.data.sources.state import check_unchanged, file_key, state_of


def test_the_state_of_a_file_is_that_of_its_descriptor(tmp_path):
    (tmp_path / "a").write_text("12345")
    with (tmp_path / "a").open() as file:
        assert state_of(file.fileno()) == state_of(tmp_path / "a")
    assert state_of(tmp_path / "a").num_bytes == 5


@pytest.mark.parametrize("change", ["size", "time"])
def test_a_change_is_told_and_changes_the_key(tmp_path, change):
    path = tmp_path / "a.b.txt"
    path.write_text("12345")
    before, key = state_of(path), file_key(path)
    assert file_key(path) == key
    check_unchanged("called", before, state_of(path))
    path.write_text("123456" if change == "size" else "12346")
    os.utime(path, ns=(0, before.nanoseconds + (change == "time")))
    with pytest.raises(ValueError, match=r"^called has changed since it was opened: run again once nothing writes"):
        check_unchanged("called", before, state_of(path))
    assert file_key(path) != key
    assert file_key(path).startswith("a-")


def test_files_of_one_name_in_two_folders_have_two_keys(tmp_path):
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a").write_text("same")
        os.utime(tmp_path / folder / "a", ns=(0, 7))
    assert file_key(tmp_path / "x" / "a") != file_key(tmp_path / "y" / "a")
