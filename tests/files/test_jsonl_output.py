"""Tests t5x_lite/files/jsonl_output.py"""

import json
import os
import pathlib
import random
import re
import subprocess
import sys
import threading
import time

import pytest

from t5x_lite.files.jsonl_output import Share, check_path, resumable_lines, tell_replaced
from tests.paths import ROOT

IDENTITY = {"checkpoint": "/runs/é", "step": 7, "stop_tokens": (1, 5)}
NUM_LINES = 10_000
NUM_SHARED, BLOCK = 47, 5
SHARED_IDENTITY = {"of": "a test"}  # of several processes
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
    with pytest.raises(ValueError, match=r"was started b(y another command|efore)") as caught:
        write(path, [], identity=identity)
    return str(caught.value)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "out.jsonl"


def partial(path):
    return pathlib.Path(f"{path}.partial")


def test_the_file_has_the_lines_in_order_and_nothing_else_is_left(path):
    assert write(path, ["one", "", "ümlaut"]) == 0
    assert path.read_bytes() == "one\n\nümlaut\n".encode()
    assert os.listdir(path.parent) == ["out.jsonl"]


def test_no_lines_make_an_empty_file(path):
    write(path, [])
    assert path.read_bytes() == b""


def test_a_line_is_in_the_file_as_soon_as_it_is_written(path):
    with resumable_lines(str(path), IDENTITY, name="--output") as output:
        output.write("one")
        assert partial(path).read_text().endswith("\none\n")
        assert not path.exists()


def test_a_killed_job_resumes_after_the_lines_it_wrote(path):
    killed(path, ["a", "b", "c"])
    killed(path, ["d"])
    assert write(path, ["e", "f"]) == 4
    assert path.read_text() == "a\nb\nc\nd\ne\nf\n"


def test_a_job_killed_before_its_first_line_resumes(path):
    killed(path, [])
    assert write(path, ["a"]) == 0
    assert path.read_text() == "a\n"


def test_a_truncated_line_is_written_again(path):
    killed(path, ["whole", "cut in the mïddle"])
    for cut in range(1, len("cut in the mïddle\n".encode())):
        content = partial(path).read_bytes()
        partial(path).write_bytes(content[:-cut])
        with pytest.raises(Killed):
            write(path, ["cut in the mïddle"], kill=True)
        assert partial(path).read_bytes() == content
    assert write(path, ["last"]) == 2
    assert path.read_text() == "whole\ncut in the mïddle\nlast\n"


def test_a_truncated_identity_is_written_again(path):
    killed(path, [])
    whole = partial(path).read_bytes()
    for length in (0, 1, len(whole) - 1):
        partial(path).write_bytes(whole[:length])
        assert write(path, ["a"]) == 0
        assert path.read_text() == "a\n"


def test_only_newlines_end_lines(path):
    lines = ["a\rb", "c\u2028d", "e\x0bf\x0cg\x85h"]
    killed(path, lines)
    assert write(path, ["i"]) == 3
    assert path.read_bytes() == "\n".join([*lines, "i", ""]).encode()


def test_a_finished_file_is_replaced_only_when_the_new_one_is_complete(path):
    write(path, ["old"])
    killed(path, ["new"])
    assert path.read_text() == "old\n"
    assert write(path, ["newer"]) == 1
    assert path.read_text() == "new\nnewer\n"


def test_a_file_is_whole_even_if_the_last_step_is_killed(path, monkeypatch):
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


def test_lines_of_another_job_are_kept_and_the_difference_is_named(path):
    killed(path, ["a"])
    content = partial(path).read_bytes()
    found = refusal(path, IDENTITY | {"step": 8})
    assert found == (
        f"{partial(path)} was started by another command (step 7 instead of 8): repeat that command, "
        "delete the file, or name another --output"
    )
    assert partial(path).read_bytes() == content
    assert not path.exists()


@pytest.mark.parametrize(
    ("identity", "differing"),
    [
        (IDENTITY | {"step": 8, "checkpoint": "/x"}, "(checkpoint '/runs/é' instead of '/x'; step 7 instead of 8)"),
        (IDENTITY | {"top_k": 3}, "(top_k None instead of 3)"),
        ({"checkpoint": "/runs/é", "step": 7}, "(stop_tokens [1, 5] instead of None)"),
        (IDENTITY | {"stop_tokens": (1,)}, "(stop_tokens [1, 5] instead of [1])"),
    ],
)
def test_every_difference_is_named_and_nothing_else(path, identity, differing):
    killed(path, ["a"])
    assert differing in refusal(path, identity)


@pytest.mark.parametrize("content", [b"my own notes\n", b"\x80{\n", b"[1]\n", b"null\nx"])
def test_an_unrelated_file_is_kept(path, content):
    partial(path).write_bytes(content)
    assert "(unknown)" in refusal(path, IDENTITY)
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
        check_path(str(missing), "--output")
    with pytest.raises(ValueError, match=rf"--output {re.escape(str(tmp_path))} is a directory: name a file"):
        check_path(str(tmp_path), "--output")


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


def test_the_first_line_is_the_identity(path):
    killed(path, ["a"])
    assert json.loads(partial(path).read_text().splitlines()[0]) == IDENTITY | {"stop_tokens": [1, 5]}


def test_a_file_without_identity_starts_over(tmp_path):
    path = tmp_path / "out"
    with pytest.raises(Killed):
        write(path, ["of another pipe"], identity=None, kill=True)
    with resumable_lines(str(path), None, name="--output") as file:
        assert file.num_written == 0
        file.write("of this one")
    assert path.read_text() == "of this one\n"


def work(path, share, *, killed_after=None, identity=SHARED_IDENTITY):
    """Writes the lines of one process; returns how many were there."""
    with resumable_lines(str(path), identity, share, name="--output") as output:
        mine = list(share.of(enumerate(f"line {number}" for number in range(NUM_SHARED))))
        for done, (number, line) in enumerate(mine[output.num_written :]):
            if done == killed_after:
                raise Killed
            output.write(f"{number}: {line}")
        return output.num_written


def together(path, count, **given):
    """Runs the processes of a job as threads; returns how many lines each found."""
    found = {}

    def one(index):
        found[index] = work(path, Share(index, count, BLOCK), **given)

    threads = [threading.Thread(target=one, args=(index,)) for index in range(count)]
    for thread in reversed(threads):  # the first one merges
        thread.start()
    for thread in threads:
        thread.join(120)
    return [found[index] for index in range(count)]


@pytest.mark.parametrize("count", [1, 2, 3, 12])
def test_lines_of_several_processes_are_in_order(tmp_path, count):
    together(tmp_path / "out", count)
    assert (tmp_path / "out").read_text().splitlines() == [f"{n}: line {n}" for n in range(NUM_SHARED)]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_each_process_resumes_where_it_was_killed(tmp_path):
    for index, killed_after in ((0, 3), (2, 7)):
        with pytest.raises(Killed):
            work(tmp_path / "out", Share(index, 3, BLOCK), killed_after=killed_after)
    assert not (tmp_path / "out").exists()
    thread = threading.Thread(target=work, args=(tmp_path / "out", Share(1, 3, BLOCK)), daemon=True)
    thread.start()  # and is done; the others are not there
    while not (whole := tmp_path / "out.whole-00001-of-00003").exists():
        time.sleep(0.01)
    num_lines = len(whole.read_text().splitlines()) - 1
    assert together(tmp_path / "out", 3) == [3, num_lines, 7]
    thread.join(120)
    assert (tmp_path / "out").read_text().splitlines() == [f"{n}: line {n}" for n in range(NUM_SHARED)]


def test_several_processes_refuse_the_lines_of_another_job(tmp_path):
    share = Share(1, 2, BLOCK)
    with pytest.raises(Killed):
        work(tmp_path / "out", share, killed_after=2)
    for other, identity in ((share._replace(block=4), SHARED_IDENTITY), (share, {"of": "else"})):
        with pytest.raises(ValueError, match="was started by another command"):
            work(tmp_path / "out", other, identity=identity)


@pytest.mark.parametrize(("path", "identity"), [("-", SHARED_IDENTITY), ("out", None)])
def test_several_processes_cannot_share_a_pipe(tmp_path, monkeypatch, path, identity):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="which 2 processes cannot share: name a file"):
        work(path, Share(0, 2, BLOCK), identity=identity)


@pytest.mark.parametrize("changed", [{"time of it": 9}, {"bytes of it": 3, "time of it": 9}])
def test_a_changed_input_is_named_as_such(path, changed):
    began = IDENTITY | {"input": "/a.txt", "bytes of it": 2, "time of it": 8}
    with pytest.raises(Killed), resumable_lines(str(path), began, name="--output"):
        raise Killed
    found = refusal(path, began | changed)
    assert found == f"{partial(path)} was started before the input changed: delete the file, or name another --output"
    assert "(input '/a.txt' instead of '/b.txt')" in refusal(path, began | changed | {"input": "/b.txt"})


def test_an_output_that_exists_is_told_to_be_replaced(tmp_path, capsys):
    output = tmp_path / "o.jsonl"
    for path in (str(output), "-", "/dev/null"):
        tell_replaced(path, "--output")
    assert capsys.readouterr().err == ""
    output.touch()
    tell_replaced(str(output), "--output")
    assert capsys.readouterr().err == f"--output {output} exists: it is replaced once the new one is complete\n"
