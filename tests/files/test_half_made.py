"""Tests t5x_lite/files/half_made.py"""

import pytest

from t5x_lite.files.half_made import MOST_SHARDS, remove_half_made


def half_made(folder, num_shards):
    path = folder / "deep" / "run"
    (path / "corpus").mkdir(parents=True)
    (path / ".lock").write_text("process 7")
    for number in range(num_shards):
        (path / "corpus" / f"train-{number}.array_record").write_text("tokens")
    return path, [path, path.parent]


@pytest.mark.parametrize("num_shards", [0, 2])
def test_a_mistake_leaves_nothing_that_was_made_for_the_start(tmp_path, num_shards):
    path, made = half_made(tmp_path, num_shards)
    remove_half_made(path, made, ValueError("a mistake"))
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_was_there_stays(tmp_path):
    path, made = half_made(tmp_path, 1)
    remove_half_made(path, made[:1], ValueError("a mistake"))
    assert [entry.name for entry in tmp_path.iterdir()] == ["deep"]


def test_a_directory_into_which_another_process_writes_stays(tmp_path):
    path, made = half_made(tmp_path, 1)
    (path.parent / "other").mkdir()
    remove_half_made(path, made, ValueError("a mistake"))
    assert [entry.name for entry in path.parent.iterdir()] == ["other"]


@pytest.mark.parametrize(
    ("error", "num_shards"), [(KeyboardInterrupt(), 1), (OSError("full"), 1), (ValueError("bad"), MOST_SHARDS + 1)]
)
def test_prepared_text_that_the_same_command_goes_on_with_stays(tmp_path, error, num_shards):
    path, made = half_made(tmp_path, num_shards)
    remove_half_made(path, made, error)
    assert len(list((path / "corpus").iterdir())) == num_shards


def test_an_interrupted_start_without_text_leaves_nothing(tmp_path):
    path, made = half_made(tmp_path, 0)
    remove_half_made(path, made, KeyboardInterrupt())
    assert list(tmp_path.iterdir()) == []
