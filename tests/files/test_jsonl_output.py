"""Tests t5x_lite/files/jsonl_output.py"""

import json
import os
import pathlib
import random
import re
import subprocess
import sys
import time

import pytest

from t5x_lite.files.jsonl_output import resumable_lines
from tests.paths import ROOT

IDENTITY = {"checkpoint": "/runs/é", "step": 7, "stop_tokens": (1, 5)}
NUM_LINES = 10_000
# Arguments: a file, and how many lines to write at most before it waits to be killed.
WRITER = """
import sys, time
from t5x_lite.files.jsonl_output import resumable_lines
with resumable_lines(sys.argv[1], {"of": "a test"}, name="--output") as output:
    for number in range(output.num_written, 10_000):
        if number == int(sys.argv[2]):
            time.sleep(600)
        output.write(f"{number} " + "x" * (number % 97))
"""


class Killed(BaseException):
    """Ends a block as a kill would, but that what is buffered is written."""


def write(path, lines, *, kill=False, identity=IDENTITY):
    """Writes lines and returns how many were there; or is killed after the last one."""
    with resumable_lines(str(path), identity, name="--output") as output:
        for line in lines:
            output.write(line)
        if kill:
            raise Killed
        return output.num_written


def killed(path, lines, **given):
    with pytest.raises(Killed):
        write(path, lines, kill=True, **given)


def refusal(path, identity):
    with pytest.raises(ValueError, match="has the beginning of something else") as caught:
        write(path, [], identity=identity)
    return str(caught.value)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "out.jsonl"


def partial(path):
    return pathlib.Path(f"{path}.partial")


def test_lines_are_in_the_file_in_order_and_nothing_else_is_left(path):
    assert write(path, ["one", "", "ümlaut"]) == 0
    assert path.read_bytes() == "one\n\nümlaut\n".encode()
    assert os.listdir(path.parent) == ["out.jsonl"]


def test_no_lines_are_an_empty_file(path):
    write(path, [])
    assert path.read_bytes() == b""


def test_a_line_is_in_the_file_as_soon_as_it_is_written(path):
    with resumable_lines(str(path), IDENTITY, name="--output") as output:
        output.write("one")
        assert partial(path).read_text().endswith("\none\n")
        assert not path.exists()


def test_what_was_killed_goes_on_after_the_lines_it_wrote(path):
    killed(path, ["a", "b", "c"])
    killed(path, ["d"])
    assert write(path, ["e", "f"]) == 4
    assert path.read_text() == "a\nb\nc\nd\ne\nf\n"


def test_what_was_killed_before_its_first_line_goes_on(path):
    killed(path, [])
    assert write(path, ["a"]) == 0
    assert path.read_text() == "a\n"


def test_a_line_that_was_cut_is_written_anew(path):
    killed(path, ["whole", "cut in the mïddle"])
    for cut in range(1, len("cut in the mïddle\n".encode())):
        content = partial(path).read_bytes()
        partial(path).write_bytes(content[:-cut])
        with pytest.raises(Killed):
            write(path, ["cut in the mïddle"], kill=True)
        assert partial(path).read_bytes() == content
    assert write(path, ["last"]) == 2
    assert path.read_text() == "whole\ncut in the mïddle\nlast\n"


def test_a_first_line_that_was_cut_is_begun_anew(path):
    killed(path, [])
    whole = partial(path).read_bytes()
    for length in (0, 1, len(whole) - 1):
        partial(path).write_bytes(whole[:length])
        assert write(path, ["a"]) == 0
        assert path.read_text() == "a\n"


def test_characters_that_end_lines_elsewhere_do_not_here(path):
    lines = ["a\rb", "c\u2028d", "e\x0bf\x0cg\x85h"]
    killed(path, lines)
    assert write(path, ["i"]) == 3
    assert path.read_bytes() == "\n".join([*lines, "i", ""]).encode()


def test_a_finished_file_is_replaced_and_not_before_all_is_there(path):
    write(path, ["old"])
    killed(path, ["new"])
    assert path.read_text() == "old\n"
    assert write(path, ["newer"]) == 1
    assert path.read_text() == "new\nnewer\n"


def test_a_file_is_whole_whenever_its_last_step_is_killed(path, monkeypatch):
    def fail(*_):
        raise Killed

    for step in ("replace", "unlink"):
        target = os if step == "replace" else pathlib.Path
        with monkeypatch.context() as patch:
            patch.setattr(target, step, fail)
            with pytest.raises(Killed):
                write(path, [step])
        assert write(path, []) == 1
        assert path.read_text() == f"{step}\n"
        assert os.listdir(path.parent) == ["out.jsonl"]


def test_lines_longer_than_any_buffer_are_whole(path):
    lines = ["x" * 2**20, "y" * (3 * 2**19)]
    killed(path, lines[:1])
    write(path, lines[1:])
    assert path.read_text().splitlines() == lines


def test_lines_of_something_else_are_left_alone_and_what_differs_is_named(path):
    killed(path, ["a"])
    content = partial(path).read_bytes()
    found = refusal(path, IDENTITY | {"step": 8})
    assert found == (
        f"{partial(path)} has the beginning of something else (step 7 and not 8): repeat the command it is of, "
        "delete it, or name another --output"
    )
    assert partial(path).read_bytes() == content
    assert not path.exists()


@pytest.mark.parametrize(
    ("identity", "differing"),
    [
        (IDENTITY | {"step": 8, "checkpoint": "/x"}, "(checkpoint '/runs/é' and not '/x'; step 7 and not 8)"),
        (IDENTITY | {"top_k": 3}, "(top_k None and not 3)"),
        ({"checkpoint": "/runs/é", "step": 7}, "(stop_tokens [1, 5] and not None)"),
        (IDENTITY | {"stop_tokens": (1,)}, "(stop_tokens [1, 5] and not [1])"),
    ],
)
def test_every_difference_is_named_and_nothing_that_is_the_same(path, identity, differing):
    killed(path, ["a"])
    assert differing in refusal(path, identity)


@pytest.mark.parametrize("content", [b"my own notes\n", b"\x80{\n", b"[1]\n", b"null\nx"])
def test_a_file_that_is_no_beginning_of_any_is_left_alone(path, content):
    partial(path).write_bytes(content)
    assert "(not known)" in refusal(path, IDENTITY)
    assert partial(path).read_bytes() == content


def test_a_dash_is_standard_output(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert write("-", ["one", "two"]) == 0
    assert capsys.readouterr().out == "one\ntwo\n"
    assert os.listdir(tmp_path) == []


def test_a_pipe_gets_the_lines_and_stays_a_pipe(path):
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert write(path, ["one", "two"]) == 0
        assert os.read(reader, 99) == b"one\ntwo\n"
    finally:
        os.close(reader)
    assert os.listdir(path.parent) == ["out.jsonl"]
    assert path.is_fifo()


def test_a_name_without_a_directory_is_in_the_working_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write("here.txt", ["a"])
    assert (tmp_path / "here.txt").read_text() == "a\n"


def test_a_path_that_cannot_be_a_file_is_named(tmp_path):
    missing = tmp_path / "no" / "out"
    with pytest.raises(ValueError, match=rf"--output {re.escape(str(missing))} is in a directory that does not exist"):
        write(missing, [])
    with pytest.raises(ValueError, match=rf"--output {re.escape(str(tmp_path))} is a directory: name a file"):
        write(tmp_path, [])


def num_lines(path):
    return partial(path).read_bytes().count(b"\n") - 1 if partial(path).exists() else 0


def test_five_kills_at_random_moments_lose_no_line_and_repeat_none(path):
    root = ROOT
    rng = random.Random(time.time_ns())
    for fifth in range(1, 6):
        most = NUM_LINES * fifth // 6
        moment = rng.randrange(most - NUM_LINES // 6, most)
        process = subprocess.Popen([sys.executable, "-c", WRITER, path, str(most)], cwd=root)
        deadline = time.monotonic() + 60
        try:
            while num_lines(path) < moment:
                assert process.poll() is None
                assert time.monotonic() < deadline
        finally:
            process.kill()  # SIGKILL: nothing of the process runs after it
        assert process.wait() < 0
        assert moment <= num_lines(path) <= most
    subprocess.run([sys.executable, "-c", WRITER, path, "-1"], cwd=root, check=True)
    expected = [f"{number} " + "x" * (number % 97) for number in range(NUM_LINES)]
    assert path.read_text().splitlines() == expected


def test_the_first_line_says_what_the_others_are_of(path):
    killed(path, ["a"])
    assert json.loads(partial(path).read_text().splitlines()[0]) == IDENTITY | {"stop_tokens": [1, 5]}


def test_without_an_identity_a_file_begins_anew(tmp_path):
    path = tmp_path / "out"
    with pytest.raises(Killed):
        write(path, ["of another pipe"], identity=None, kill=True)
    with resumable_lines(str(path), None, name="--output") as file:
        assert file.num_written == 0
        file.write("of this one")
    assert path.read_text() == "of this one\n"
