"""Tests t5x_lite/files/damage.py; test_reading.py has the errors that it explains"""

import pytest

from t5x_lite.files.damage import check_content, explained


def test_an_error_is_explained_in_one_short_line():
    told = explained(ValueError("x" * 900 + "\nmore"), "a.json", "restore it")
    assert str(told) == f"a.json is damaged ({'x' * 200}): restore it"


def test_a_large_file_and_a_pointer_of_git_lfs_are_refused(tmp_path):
    (tmp_path / "a").write_bytes(b"12345")
    assert check_content(tmp_path / "a", 5) == b"12345"
    with pytest.raises(ValueError, match=r"a has 5 bytes, more than any such file, 4: download it again"):
        check_content(tmp_path / "a", 4)
    (tmp_path / "a").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(ValueError, match="is a Git LFS pointer"):
        check_content(tmp_path / "a", 99)
