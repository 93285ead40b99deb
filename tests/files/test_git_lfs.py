"""Tests t5x_lite/files/git_lfs.py"""

import pytest

from t5x_lite.files.git_lfs import check_downloaded

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 242043056\n"


def test_a_pointer_is_named_with_the_remedy(tmp_path):
    (tmp_path / "x.bin").write_text(POINTER)
    with pytest.raises(ValueError, match=r"x.bin is a Git LFS pointer, .*`git lfs pull` in \S+, or download"):
        check_downloaded(tmp_path / "x.bin")


@pytest.mark.parametrize("content", ["", "version", "the version https://git-lfs.github.com/spec/v1\n"])
def test_other_files_pass(content, tmp_path):
    (tmp_path / "x").write_text(content)
    check_downloaded(tmp_path / "x")
