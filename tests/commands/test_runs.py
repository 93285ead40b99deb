"""Tests t5x_lite/commands/runs.py"""

import datetime
import fcntl
import json

import pytest

from t5x_lite.commands import runs
from t5x_lite.commands.runs import best_results, is_better_if_less, is_locked, summarise, table

ROWS = (
    {"step": 5, "loss": 3.5},
    {"step": 5, "eval/loss": 3.0, "eval/rouge1": 7.5, "eval/unigram_text": 2.0},
    {"step": 9, "loss": 2.5},
    {"step": 10, "eval/loss": 3.25, "eval/rouge1": "nan", "eval/unigram_text": 2.0},
)
START = {"started": "2026-01-02T03:04:05+00:00", "step": 0}


def make_run(path, *, steps=(), num_steps=12, rows=ROWS):
    for step in steps:
        (path / "checkpoints" / str(step)).mkdir(parents=True)
    path.mkdir(parents=True, exist_ok=True)
    (path / ".lock").write_text("process 1 on here")
    (path / "config.yaml").write_text(f"train: {{num_steps: {num_steps}}}\n")
    (path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (path / "environment.json").write_text(json.dumps(START | {"starts": [START, START | {"step": 5}]}))
    return path


def as_json(directory, capsys):
    runs.run(str(directory), as_json=True)
    return {one["run"]: one for one in json.loads(capsys.readouterr().out)}


@pytest.mark.parametrize(("steps", "state"), [((5, 12), "complete"), ((5, 10), "stopped"), ((), "failed")])
def test_the_state_follows_from_the_newest_checkpoint(steps, state, tmp_path):
    summary = summarise(make_run(tmp_path / "a", steps=steps))
    assert (summary.state, summary.step, summary.num_steps) == (state, steps[-1] if steps else None, 12)


def test_a_run_whose_lock_is_held_is_running(tmp_path):
    path = make_run(tmp_path / "a", steps=(5,))
    with (path / ".lock").open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert summarise(path).state == "running"
    assert summarise(path).state == "stopped"


def test_looking_at_a_lock_changes_nothing(tmp_path):
    path = make_run(tmp_path / "a")
    assert not is_locked(path / ".lock")
    assert (path / ".lock").read_text() == "process 1 on here"
    assert not is_locked(path / "absent")
    assert not (path / "absent").exists()


def test_a_lock_alone_is_a_run_that_never_started(tmp_path, capsys):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / ".lock").touch()
    assert as_json(tmp_path, capsys)[str(tmp_path / "a")]["state"] == "not started"


def test_what_was_logged_is_summarised(tmp_path):
    summary = summarise(make_run(tmp_path / "a", steps=(5,)))
    assert (summary.logged_step, summary.loss, summary.num_starts) == (10, 2.5, 2)
    assert summary.best == {"eval/loss": {"value": 3.0, "step": 5}, "eval/rouge1": {"value": 7.5, "step": 5}}
    assert summary.started == START["started"]


@pytest.mark.parametrize(
    ("file", "content", "problem"),
    [
        ("config.yaml", b"[broken", "config.yaml is corrupt"),
        ("config.yaml", b"train: 3", "train.num_steps None"),
        ("config.yaml", b"train: {num_steps: many}", "train.num_steps 'many'"),
        ("config.yaml", None, "config.yaml is missing"),
        ("metrics.jsonl", b'{"step": 1}\n\xff\n{"step": 3}\n', "metrics.jsonl, line 2, is damaged"),
        ("environment.json", b'{"starts": 3}', "environment.json is damaged"),
        ("environment.json", b'{"starts": [3]}', "environment.json is damaged"),
        ("environment.json", b"\xff", "environment.json is damaged"),
    ],
)
def test_a_damaged_run_is_listed_as_such_beside_the_others(file, content, problem, tmp_path, capsys):
    make_run(tmp_path / "a", steps=(12,))
    damaged = make_run(tmp_path / "b", steps=(12,))
    (damaged / file).unlink()
    if content is not None:
        (damaged / file).write_bytes(content)
    found = as_json(tmp_path, capsys)
    assert [one["state"] for one in found.values()] == ["complete", "damaged"]
    assert problem in found[str(damaged)]["problem"]
    runs.run(str(tmp_path))
    assert f"Damaged: {found[str(damaged)]['problem']}" in capsys.readouterr().out


def test_runs_are_found_at_any_depth_but_not_in_each_other(tmp_path, capsys):
    for name in ("b/c/d", "a", ".hidden/x"):
        make_run(tmp_path / name)
    make_run(tmp_path / "a" / "inside")
    (tmp_path / "link").symlink_to("b/c/d")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.yaml").write_text("of something else")
    assert sorted(as_json(tmp_path, capsys)) == [str(tmp_path / name) for name in ("a", "b/c/d", "link")]


def test_a_run_may_be_named_itself(tmp_path, capsys):
    assert list(as_json(make_run(tmp_path / "a"), capsys)) == [str(tmp_path / "a")]


def test_a_directory_without_runs_is_said_to_have_none(tmp_path, capsys):
    assert as_json(tmp_path, capsys) == {}
    runs.run(str(tmp_path))
    assert capsys.readouterr().err == f"There are no runs in {tmp_path}\n"


def test_a_directory_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"^DIR is '/.*absent', which is not a directory: name"):
        runs.run(str(tmp_path / "absent"))


def test_the_table_has_a_line_for_each_run(tmp_path):
    summary = summarise(make_run(tmp_path / "a", steps=(10,)))
    now = datetime.datetime.fromisoformat(summary.written) + datetime.timedelta(hours=3)
    cells = [next(iter(column.cells)) for column in table([summary], now).columns]
    expected = ["stopped at 10 of 12", "10", "2.500", "rouge1 7.50 of 100 at 5", "2026-01-02 03:04", "3 h ago"]
    assert cells == [str(tmp_path / "a"), *expected]


def test_the_best_of_a_mixture_is_that_of_all_its_tasks(tmp_path):
    rows = [{"step": 4, "eval/loss": 2.0, "eval/x/loss": 1.0, "eval/x/accuracy": 50.0}]
    summary = summarise(make_run(tmp_path / "a", rows=rows))
    column = table([summary], datetime.datetime.now(datetime.UTC)).columns[4]
    assert list(column.cells) == ["held-out loss 2.000 at 4"]


@pytest.mark.parametrize(
    ("name", "less"),
    [
        ("loss", True),
        ("x/loss", True),
        ("perplexity", True),
        ("edit_distance/mean", True),
        ("sklearn/mean_squared_error", True),
        ("sklearn/r2_score", False),
        ("x/squad/em", False),
        ("target_accuracy", False),
    ],
)
def test_less_is_better_for_losses_and_errors(name, less):
    assert is_better_if_less(name) == less


def test_the_first_of_equal_results_is_the_best():
    rows = [{"step": step, "eval/accuracy": 50.0} for step in (3, 4)]
    assert best_results(rows) == {"eval/accuracy": {"value": 50.0, "step": 3}}
