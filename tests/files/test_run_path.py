"""Tests t5x_lite/files/run_path.py"""

import pytest

from t5x_lite.files.run_path import checked_step, run_and_step, saved_steps


@pytest.fixture
def run(tmp_path, monkeypatch):
    for name in ("3", "20", "100", "101.orbax-checkpoint-tmp", "007"):
        (tmp_path / "runs" / "a" / "checkpoints" / name).mkdir(parents=True)
    (tmp_path / "runs" / "a" / "checkpoints" / "7").write_text("a file")
    (tmp_path / "runs" / "a" / "config.yaml").write_text("{}")
    monkeypatch.chdir(tmp_path)
    return "runs/a"


def test_a_path_of_a_checkpoint_is_a_run_and_a_step(run, tmp_path):
    assert run_and_step("runs/a/checkpoints/20") == (run, 20)
    assert run_and_step("runs/a/checkpoints/20/") == (run, 20)
    assert run_and_step(tmp_path / "runs/a/checkpoints/4") == (str(tmp_path / run), 4)


def test_a_path_may_begin_below_the_run(run, tmp_path, monkeypatch):
    monkeypatch.chdir("runs/a")
    assert run_and_step("checkpoints/20") == (".", 20)
    monkeypatch.chdir("checkpoints")
    assert run_and_step("20") == (str(tmp_path / run), 20)


def test_other_paths_stay_as_they_are(run, tmp_path):
    (tmp_path / "x" / "checkpoints" / "20").mkdir(parents=True)  # in no run
    for path in ("runs/a", "runs/a/checkpoints", "runs/a/checkpoints/007", "x/checkpoints/20", "checkpoints/20", "20"):
        assert run_and_step(path, 5) == (path, 5)


def test_two_different_steps_are_refused(run):
    assert run_and_step("runs/a/checkpoints/20", 20) == (run, 20)
    with pytest.raises(ValueError, match="runs/a/checkpoints/20 is the checkpoint of step 20, but step 3 is asked for"):
        run_and_step("runs/a/checkpoints/20", 3)


def test_only_complete_checkpoints_are_listed(run, tmp_path):
    assert saved_steps(run) == [3, 20, 100]
    assert saved_steps(tmp_path) == []


def test_a_step_without_a_checkpoint_is_refused_with_those_there_are(run):
    assert (checked_step(run, None), checked_step(run, 3)) == (100, 3)
    with pytest.raises(ValueError, match=r"^runs/a has no checkpoint of step 7: use one of 3, 20, 100$"):
        checked_step(run, 7)


def test_a_run_without_checkpoints_is_refused(tmp_path):
    with pytest.raises(ValueError, match="has no checkpoint yet"):
        checked_step(tmp_path, 7)


def test_a_step_that_is_no_number_is_refused(run):
    with pytest.raises(TypeError, match=r"^step is '3': pass a whole number"):
        checked_step(run, "3")
