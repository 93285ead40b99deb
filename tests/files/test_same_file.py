"""Tests t5x_lite/files/same_file.py"""

import os
import pathlib

import pytest

from t5x_lite.files.same_file import refuse_nesting, refuse_overwriting


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text("mine")
    os.link("in/a.txt", "hard")
    os.symlink("in/a.txt", "soft")
    os.symlink("soft", "softer")
    os.symlink("in", "folder")
    return tmp_path / "in" / "a.txt"


@pytest.mark.parametrize(
    "name", ["in/a.txt", "./in//a.txt", "in/../in/a.txt", "hard", "soft", "softer", "folder/a.txt"]
)
def test_a_file_is_known_under_all_its_names(file, name):
    for written, read in ((name, file), (file, name), (file, pathlib.Path(name))):
        with pytest.raises(ValueError, match=rf"^--output {written} is .*, which is read: name another file"):
            refuse_overwriting(["other", written], ["absent", read], "--output")


def test_an_open_file_is_known_by_its_number(file):
    with file.open() as stream:
        with pytest.raises(ValueError, match=r"^--output hard is standard input"):
            refuse_overwriting(["hard"], [stream.fileno()], "--output")
        with pytest.raises(ValueError, match=r"^standard output is hard, which is read"):
            refuse_overwriting([stream.fileno()], ["hard"], "--output")


@pytest.mark.parametrize("name", ["new.txt", "in/b.txt", os.devnull, "in", "in/a.txt/x"])
def test_other_files_devices_and_new_names_are_fine(file, name):
    refuse_overwriting([name], [file, os.devnull], "--output")


@pytest.mark.parametrize("name", ["in", "folder", "in/new", "folder/new/deep", "."])
def test_a_directory_is_kept_apart_from_what_is_read(file, name):
    with pytest.raises(
        ValueError, match=rf"^DESTINATION {name} (is|is inside|holds) .*in, which is read: name a direc"
    ):
        refuse_nesting(name, [file.parent], "DESTINATION")


def test_a_directory_beside_what_is_read_is_fine(file):
    refuse_nesting("in2", [file.parent, file], "DESTINATION")
    refuse_nesting("new/in", ["in"], "DESTINATION")
