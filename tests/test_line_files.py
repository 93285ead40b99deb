"""Tests t5x_lite/line_files.py."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest

from t5x_lite.line_files import resumable_lines

IDENTITY = {"model": "a", "seed": 3}


def write(path, lines, identity=IDENTITY, fails_after=None):
    with resumable_lines(str(path), identity, name="--output") as file:
        for number, line in enumerate(lines[file.num_written :]):
            if number == fails_after:
                raise KeyboardInterrupt
            file.write(line)
        return file.num_written


def test_a_file_gets_its_name_when_it_is_whole(tmp_path):
    path = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        write(path, ["a", "b", "c"], fails_after=2)
    assert not path.exists()
    assert write(path, ["a", "b", "c"]) == 2
    assert path.read_text() == "a\nb\nc\n"
    assert os.listdir(tmp_path) == ["out"]


def test_what_was_there_is_replaced(tmp_path):
    path = tmp_path / "out"
    path.write_text("old\n")
    assert write(path, ["new"]) == 0
    assert path.read_text() == "new\n"


def test_a_line_that_was_cut_off_is_written_again(tmp_path):
    path = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        write(path, ["first", "second", "third"], fails_after=2)
    partial = tmp_path / "out.partial"
    partial.write_bytes(partial.read_bytes()[:-3])
    assert write(path, ["first", "second", "third"]) == 1
    assert path.read_text() == "first\nsecond\nthird\n"


def test_a_first_line_that_was_cut_off_begins_anew(tmp_path):
    (tmp_path / "out.partial").write_text('{"model":')
    assert write(tmp_path / "out", ["a"]) == 0
    assert (tmp_path / "out").read_text() == "a\n"


def test_the_beginning_of_something_else_is_refused_and_kept(tmp_path):
    path = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        write(path, ["a", "b"], fails_after=1)
    before = (tmp_path / "out.partial").read_bytes()
    with pytest.raises(ValueError, match=r"out.partial has the beginning of something else \(model 'a' and not 'b'\)"):
        write(path, ["a", "b"], identity={"model": "b", "seed": 3})
    assert (tmp_path / "out.partial").read_bytes() == before
    (tmp_path / "out.partial").write_text("no json\n")
    with pytest.raises(ValueError, match="something else"):
        write(path, ["a"])


def test_standard_output_keeps_nothing(capsys):
    with resumable_lines("-", IDENTITY, name="--output") as file:
        file.write("x")
    assert (file.num_written, capsys.readouterr().out) == (0, "x\n")


def test_a_place_where_no_file_can_be_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"--output .* is in a directory that does not exist"):
        write(tmp_path / "no" / "out", [])
    with pytest.raises(ValueError, match=r"--output .* is a directory"):
        write(tmp_path, [])


LOOP = """
import sys, time
from t5x_lite.line_files import resumable_lines
with resumable_lines(sys.argv[1], {}, name="--output") as file:
    for number in range(file.num_written, 3_000):
        file.write(f"line {number}")
        time.sleep(0.0005)
"""


@pytest.mark.slow
def test_killed_five_times_at_random_every_line_is_there_once(tmp_path):
    path, generator = tmp_path / "out", random.Random(0)
    for _ in range(5):
        process = subprocess.Popen([sys.executable, "-c", LOOP, str(path)], env=os.environ | {"PYTHONPATH": "."})
        time.sleep(0.3 + 0.4 * generator.random())
        process.send_signal(signal.SIGKILL)
        process.wait()
    subprocess.run([sys.executable, "-c", LOOP, str(path)], check=True, env=os.environ | {"PYTHONPATH": "."})
    assert path.read_text() == "".join(f"line {number}\n" for number in range(3_000))
