"""Tests t5x_lite/training/going_back.py"""

import jax.numpy as jnp
import pytest

from t5x_lite.checkpoints.orbax import Checkpoints
from t5x_lite.files.metrics_file import read_rows
from t5x_lite.training import going_back
from t5x_lite.training.going_back import check, go_back
from t5x_lite.training.run_dir import RunDirectory
from tests import runs

ROWS = [{"step": step} for step in (5, 10, 15, 17)]


@pytest.fixture
def directory(tmp_path):
    """A run with the checkpoints 5, 10 and 15, and rows of metrics up to step 17."""
    directory = RunDirectory(tmp_path)
    checkpoints = Checkpoints(directory.checkpoints, keep=3)
    for step in (5, 10, 15):
        checkpoints.save(step, {"one": {"x": jnp.full(3, step)}}, {"next_example": step})
    checkpoints.wait()
    checkpoints.close()
    directory.metrics.write_text("".join(f'{{"step": {row["step"]}}}\n' for row in ROWS))
    return directory


def damage(directory, step):
    (directory.checkpoints / str(step) / "shapes" / "metadata").write_text("{")


def names(path):
    return sorted(entry.name for entry in path.iterdir())


def test_what_is_newer_is_set_aside_and_named(directory, capsys):
    go_back(directory, runs.config(directory.path), 5)
    place = directory.path / "set_aside" / "1"
    assert names(directory.checkpoints) == ["5"]
    assert names(place / "checkpoints") == ["10", "15"]
    assert read_rows(directory.metrics) == ROWS[:1]
    assert read_rows(place / "metrics.jsonl") == ROWS[1:]
    said = capsys.readouterr().err
    assert said == f"Going on from step 5: checkpoints 10, 15 and 3 rows of metrics.jsonl after it are now in {place}\n"


def test_the_same_command_goes_back_only_once(directory, capsys):
    cfg = runs.config(directory.path, num_steps=20)
    go_back(directory, cfg, 10)
    (directory.path / "set_aside/1/checkpoints/15").rename(directory.checkpoints / "15")  # as if trained again
    capsys.readouterr()
    go_back(directory, cfg, 10)
    assert names(directory.checkpoints) == ["10", "15", "5"]
    assert "has already gone back to step 10" in capsys.readouterr().err
    check(cfg, 10)


def test_another_command_goes_back_again(directory):
    for num_steps in (20, 30):
        go_back(directory, runs.config(directory.path, num_steps=num_steps), 10)
    assert names(directory.path / "set_aside") == ["1", "2"]


def test_a_kill_while_things_are_moved_loses_nothing(directory, monkeypatch):
    def cut(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(going_back, "keep_rows", cut)
        with pytest.raises(KeyboardInterrupt):
            go_back(directory, runs.config(directory.path), 5)
    go_back(directory, runs.config(directory.path), 5)
    assert names(directory.checkpoints) == ["5"]
    assert names(directory.path / "set_aside/1/checkpoints") == ["10", "15"]
    assert read_rows(directory.metrics) == ROWS[:1]
    assert read_rows(directory.path / "set_aside/2/metrics.jsonl") == ROWS[1:]


def test_the_latest_whole_checkpoint_is_found(directory):
    damage(directory, 15)
    go_back(directory, runs.config(directory.path, num_steps=20), "latest_whole")
    assert names(directory.checkpoints) == ["10", "5"]
    go_back(directory, runs.config(directory.path, num_steps=20), "latest_whole")  # of which there is nothing newer
    assert names(directory.path / "set_aside") == ["1"]


def test_without_a_whole_checkpoint_nothing_is_moved(directory):
    for step in (5, 10, 15):
        damage(directory, step)
    with pytest.raises(ValueError, match=r"latest_whole, but no checkpoint in .* is whole"):
        go_back(directory, runs.config(directory.path, num_steps=20), "latest_whole")
    assert names(directory.checkpoints) == ["10", "15", "5"]


def test_a_damaged_checkpoint_is_refused_with_the_whole_ones(directory):
    damage(directory, 5)
    with pytest.raises(ValueError, match=r"--from_step is 5, but .*/5 is damaged: .*\. Whole: 10, 15"):
        go_back(directory, runs.config(directory.path), 5)
    assert names(directory.checkpoints) == ["10", "15", "5"]


def test_a_step_without_a_checkpoint_is_refused(directory):
    with pytest.raises(ValueError, match=r"--from_step is 7, but run_dir .* has the checkpoints 5, 10, 15: use one"):
        check(runs.config(directory.path, num_steps=20), 7)


def test_a_step_after_the_last_is_refused(directory):
    with pytest.raises(ValueError, match=r"--from_step is 10, but train.num_steps is 8: raise it"):
        go_back(directory, runs.config(directory.path), 10)
    assert names(directory.checkpoints) == ["10", "15", "5"]


def test_a_directory_without_checkpoints_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"--from_step is latest_whole, but run_dir .* has no checkpoints: leave out"):
        check(runs.config(tmp_path), "latest_whole")


def test_a_damaged_record_of_going_back_is_refused_by_name(directory):
    cfg = runs.config(directory.path)
    go_back(directory, cfg, 5)
    record = directory.path / "set_aside" / "1" / "record.json"
    record.write_text(record.read_text().replace('"from_step": 5', '"from_step": 4'))
    with pytest.raises(ValueError, match=r"record.json is damaged: restore or remove it"):
        go_back(directory, cfg, 5)
