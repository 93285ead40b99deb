"""Tests t5x_lite/files/one_writer.py"""

import errno
import fcntl
import os
import pathlib
import platform
import socket
import subprocess
import sys

import pytest

from t5x_lite.files.one_writer import one_filler, one_writer
from tests.paths import ROOT

NUM_RACERS = 8
# Waits for a line, so that all start together, and writes slowly; prints whether it won.
RACER = """
import pathlib, sys, time
from t5x_lite.files.one_writer import one_writer
print("ready", flush=True)
sys.stdin.readline()
try:
    with one_writer(sys.argv[1], "--output"):
        print("won", flush=True)
        sys.stdin.readline()
except ValueError as error:
    print(error, flush=True)
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "out.jsonl"


def refused(path):
    message = rf"--output {path} is in use by process {os.getpid()} on .*: wait"
    with pytest.raises(ValueError, match=message), one_writer(path, "--output"):
        pass
    return True


def test_a_second_writer_is_refused_until_the_first_has_ended(path):
    with one_writer(path, "--output"):
        assert refused(path)
    with one_writer(path, "--output"):
        pass


def test_other_outputs_are_free(path):
    with one_writer(path), one_writer(path.with_suffix(".json")), one_writer(path.parent / "other" / path.name):
        pass


def test_nothing_is_left_behind_not_even_the_directories_made_for_the_lock(path):
    with one_writer(path), one_writer(path.parent / "a" / "b"), one_filler(path.parent / "c", "--output"):
        pass
    assert os.listdir(path.parent) == []


def test_what_was_written_stays(path):
    with one_writer(path.parent / "a" / "b"):
        (path.parent / "a" / "b").write_text("x")
    assert os.listdir(path.parent / "a") == ["b"]


def test_other_spellings_are_the_same_output(path, monkeypatch):
    monkeypatch.chdir(path.parent)
    (path.parent / "folder").symlink_to(path.parent)
    with one_writer(path, "--output"):
        for spelling in ("out.jsonl", "./out.jsonl", "folder/out.jsonl", pathlib.Path("out.jsonl")):
            assert refused(spelling)


@pytest.mark.parametrize("target_exists", [True, False])
def test_a_link_and_what_it_leads_to_are_the_same_output(path, target_exists):
    link = path.parent / "link.jsonl"
    link.symlink_to(path)
    if target_exists:
        path.write_text("x")
    with one_writer(path, "--output"):
        assert refused(link)
    with one_writer(link, "--output"):
        assert refused(path)


def test_a_link_stays_locked_once_the_output_has_replaced_it(path):
    path.symlink_to(path.parent / "elsewhere")
    with one_writer(path, "--output"):
        path.unlink()
        path.write_text("x")
        assert refused(path)


def test_a_directory_under_another_name_is_the_same_output(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with one_writer(tmp_path / "real", "--output"):
        assert refused(tmp_path / "link")
        assert refused(f"{tmp_path}/real/")
    refusal = pytest.raises(ValueError, match="in use by")
    with one_filler(tmp_path / "real", "--output"), refusal, one_filler(tmp_path / "link", "--output"):
        pass


def test_parts_of_one_output_are_locked_apart(path):
    with one_writer(path), one_writer(path, part="-00001-of-00002"), one_writer(path, part="-00002-of-00002"):
        pass


def test_several_may_write_devices_and_standard_output_or_nothing():
    for output in ("/dev/null", "-", None):
        with one_writer(output), one_writer(output):
            pass
    with one_filler(None, "--output"), one_filler(None, "--output"):
        pass


def test_what_a_killed_writer_left_is_removed(path):
    folder = path.parent / f".{path.name}.{platform.node()}.123.tmp"
    folder.mkdir()
    (folder / "weights").write_text("x")
    (path.parent / f".{path.name}.{platform.node()}.45.tmp").write_text("x")
    (path.parent / f".{path.name}.lock").write_text("process 123 on here")
    kept = {f".{path.name}.another-host.7.tmp", f".other.{platform.node()}.7.tmp", f"{path.name}.partial"}
    for name in kept:
        (path.parent / name).write_text("x")
    with one_writer(path):
        pass
    assert set(os.listdir(path.parent)) == kept


def test_a_file_system_without_locks_is_told_of(path, monkeypatch, capsys):
    def unsupported(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", unsupported)
    with one_writer(path, "--output"):
        pass
    assert capsys.readouterr().err == (
        f"--output {path} cannot be locked ({os.strerror(errno.ENOLCK)}): let no other process write it\n"
    )
    assert os.listdir(path.parent) == []


def test_a_directory_that_cannot_be_written_is_named_with_its_option(path):
    path.write_text("a file")
    message = rf"^cannot write --output {path}/x: .*; name another output$"
    with pytest.raises(OSError, match=message), one_writer(path / "x", "--output"):
        pass


def test_of_writers_that_start_together_exactly_one_wins(path):
    command = [sys.executable, "-c", RACER, str(path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": ROOT}
    racers = [subprocess.Popen(command, **pipes) for _ in range(NUM_RACERS)]
    for racer in racers:
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        racer.stdin.write("\n")
        racer.stdin.flush()
    answers = [racer.stdout.readline() for racer in racers]  # the winner holds the lock until all have answered
    for racer in racers:
        racer.communicate("\n")
    assert answers.count("won\n") == 1
    winner = racers[answers.index("won\n")]
    refusal = f"--output {path} is in use by process {winner.pid} on {socket.gethostname()}: wait for it to finish, or "
    assert {answer for answer in answers if answer != "won\n"} == {f"{refusal}name another output\n"}
    assert os.listdir(path.parent) == []
