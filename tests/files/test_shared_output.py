"""Tests t5x_lite/files/shared_output.py"""

import threading
import time

import pytest

from t5x_lite.files.shared_output import Share, shared_lines

NUM_LINES, BLOCK = 47, 5
IDENTITY = {"of": "a test"}


class Killed(BaseException):
    """Ends a block as a kill would."""


def work(path, share, *, killed_after=None, identity=IDENTITY):
    """Writes the lines of one process; returns how many were there."""
    with shared_lines(str(path), identity, share, name="--output") as output:
        mine = list(share.of(enumerate(f"line {number}" for number in range(NUM_LINES))))
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
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return [found[index] for index in range(count)]


@pytest.mark.parametrize("count", [1, 2, 3, 12])
def test_the_lines_of_all_are_in_order(tmp_path, count):
    together(tmp_path / "out", count)
    assert (tmp_path / "out").read_text().splitlines() == [f"{n}: line {n}" for n in range(NUM_LINES)]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_each_goes_on_where_it_was_killed(tmp_path):
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
    thread.join(30)
    assert (tmp_path / "out").read_text().splitlines() == [f"{n}: line {n}" for n in range(NUM_LINES)]


def test_the_lines_of_another_job_are_refused(tmp_path):
    share = Share(1, 2, BLOCK)
    with pytest.raises(Killed):
        work(tmp_path / "out", share, killed_after=2)
    for other, identity in ((share._replace(block=4), IDENTITY), (share, {"of": "else"})):
        with pytest.raises(ValueError, match="has the beginning of something else"):
            work(tmp_path / "out", other, identity=identity)


@pytest.mark.parametrize(("path", "identity"), [("-", IDENTITY), ("out", None)])
def test_several_processes_share_no_pipe(tmp_path, monkeypatch, path, identity):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="which 2 processes cannot share: name a file"):
        work(path, Share(0, 2, BLOCK), identity=identity)
