"""Tests t5x_lite/files/file_name.py"""

import pytest

from t5x_lite.files.file_name import is_file_name


@pytest.mark.parametrize("name", ["model-00001-of-00002.safetensors", "1_Pooling", "ä b", "..x", "x" * 200])
def test_a_name_is_one(name):
    assert is_file_name(name)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "/a", "a/", "a\\b", "a\0", "a\n", "\ud800", "x" * 201, "ä" * 101, 1, None]
)
def test_paths_and_what_no_file_can_be_called_are_none(name):
    assert not is_file_name(name)
