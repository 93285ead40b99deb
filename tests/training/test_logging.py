"""Tests t5x_lite/training/logging.py"""

import json
import re
import time

from t5x_lite.files.metrics_file import read_rows
from t5x_lite.files.progress import ProgressBar
from t5x_lite.training.logging import Clock, RunLogger
from t5x_lite.training.run_dir import RunDirectory


def logger(tmp_path, *, start=0, **options):
    return RunLogger(RunDirectory(tmp_path), start=start, num_steps=10, **options)


def test_a_row_is_a_json_object_with_its_step(tmp_path):
    with logger(tmp_path) as writing:
        writing.write(3, {"loss": 1.5, "mfu": None, "nonfinite_steps": 0})
    assert read_rows(tmp_path / "metrics.jsonl") == [{"step": 3, "loss": 1.5, "mfu": None, "nonfinite_steps": 0}]


def test_numbers_that_json_lacks_become_their_names(tmp_path):
    with logger(tmp_path) as writing:
        writing.write(1, {"loss": float("nan")})
    assert json.loads((tmp_path / "metrics.jsonl").read_text())["loss"] == "nan"


def test_rows_after_the_resumed_step_are_dropped(tmp_path):
    with logger(tmp_path) as writing:
        for step in (1, 2, 3):
            writing.write(step, {"loss": float(step)})
    with logger(tmp_path, start=2) as writing:
        writing.write(3, {"loss": 33.0})
    assert [row["loss"] for row in read_rows(tmp_path / "metrics.jsonl")] == [1.0, 2.0, 33.0]


def test_an_evaluation_is_found_again(tmp_path):
    with logger(tmp_path) as writing:
        writing.write(3, {"eval/loss": 1.5})
        writing.write(4, {"loss": float("nan")})
    with logger(tmp_path, start=4) as resumed:
        assert resumed.has_evaluation(3)
        assert not resumed.has_evaluation(4)


def test_tensorboard_gets_the_same_numbers(tmp_path):
    with logger(tmp_path) as writing:
        writing.write(1, {"loss": 1.5})
    (events,) = (tmp_path / "tensorboard").iterdir()
    assert b"train/loss" in events.read_bytes()


def test_a_disabled_logger_writes_nothing(tmp_path):
    with logger(tmp_path, enabled=False) as silent:
        silent.write(1, {"loss": 1.0})
        silent.print("hello")
    assert list(tmp_path.iterdir()) == []


def test_a_log_file_gets_a_line_for_each_row(tmp_path, capsys):
    with logger(tmp_path) as writing:
        writing.write(4, {"loss": 1.5, "tokens_per_second": 12_345.0})
        writing.write(5, {"eval/loss": 2.5}, learning_rate=0.25)
    first, second = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"step 4/10  loss 1.500  12,345 tokens/s  0:00:0\d elapsed", first)
    assert re.fullmatch(r"step 5/10  held-out loss 2.500  learning rate 0.25  0:00:0\d elapsed", second)


def test_what_is_not_to_be_shown_is_recorded_all_the_same(tmp_path, capsys):
    results = {"eval/loss": 2.5, "eval/unigram_text": 3.5}
    with logger(tmp_path, not_shown=["eval/unigram_text"]) as writing:
        writing.write(5, results)
    assert "held-out loss 2.500  0:00" in capsys.readouterr().err
    assert read_rows(tmp_path / "metrics.jsonl") == [{"step": 5, **results}]


def test_a_mixture_is_logged_in_several_lines(tmp_path, capsys, monkeypatch):
    texts = []
    monkeypatch.setattr(ProgressBar, "update", lambda self, text: texts.append(text))
    with logger(tmp_path) as writing:
        writing.write(4, {"eval/loss": 2.0, "eval/a/loss": 1.0, "eval/deep/loss": 3.0})
    assert texts == []  # the bar goes on to show the last step's numbers
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("step 4/10  held-out loss 2.000  0:00:0")
    assert lines[2] == "    deep  loss 3.000"


def test_the_time_left_follows_from_the_steps_after_the_first(monkeypatch):
    times = iter([100.0, 160.0, 170.0, 180.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(times))
    clock = Clock(num_steps=50)
    clock.advance(11)  # after a minute of compilation
    assert clock.describe(11) == "0:01:10 elapsed"
    clock.advance(15)
    assert clock.describe(15) == "0:01:20 elapsed, 0:02:55 left"
