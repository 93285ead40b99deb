"""Tests t5x_lite/files/atomic_write.py"""

import os
import subprocess
import sys

import pytest

from t5x_lite.files.atomic_write import is_stream, write_atomically
from tests.paths import ROOT


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


def test_devices_pipes_and_open_files_of_a_process_are_streams(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to("/dev/stdout")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "open").symlink_to("/dev/fd")
    streams = [tmp_path / "pipe", tmp_path / "link", tmp_path / "open" / "1", "/dev/stdout", "/dev/fd/1", "/dev/null"]
    assert all(map(is_stream, [*streams, f"/proc/{os.getpid()}/fd/1"]))
    others = [tmp_path / "file", tmp_path / "missing", tmp_path / "missing" / "a", tmp_path, tmp_path / "loop"]
    assert not any(map(is_stream, [*others, "/dev/shm/new.jsonl"]))


WRITER = """
import pathlib, sys
from t5x_lite.files.atomic_write import write_atomically
from t5x_lite.files.closed_pipe import opened_output
from t5x_lite.files.jsonl_output import resumable_lines, tell_replaced
from t5x_lite.files.one_writer import one_writer
with one_writer("/dev/stdout"):
    tell_replaced("/dev/stdout", "--output")
    write_atomically(pathlib.Path("/dev/stdout"), "one\\n")
    with opened_output("/dev/stdout") as file:
        print("two", file=file)
    with resumable_lines("/dev/stdout", {}, name="--output") as lines:
        lines.write("three")
"""


def test_what_is_written_to_standard_output_is_added_to_the_file_that_it_leads_to(tmp_path):
    path, before = tmp_path / "out", os.lstat("/dev/stdout")
    path.write_text("zero\n")
    with path.open("a") as file:
        done = subprocess.run([sys.executable, "-c", WRITER], stdout=file, stderr=subprocess.PIPE, cwd=ROOT, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert path.read_text() == "zero\none\ntwo\nthree\n"
    assert os.path.samestat(os.lstat("/dev/stdout"), before)
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]
