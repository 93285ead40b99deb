"""Runs of the command line that are killed, told to stop or started twice; each must end as if undisturbed."""

import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import yaml

from t5x_lite.config.plain import as_plain
from t5x_lite.training.logging import read_rows
from tests import runs

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:Sharding info not provided:UserWarning"),
]
NUM_STEPS = 150
TIMEOUT_SECONDS = 300


def command(run_dir: pathlib.Path) -> list[str]:
    cfg = runs.with_steps(runs.config(run_dir), NUM_STEPS)
    path = run_dir.with_suffix(".yaml")
    path.write_text(yaml.safe_dump(as_plain(cfg)))
    main = "import sys; from t5x_lite.cli import main; sys.exit(main(sys.argv[1:]))"
    return [sys.executable, "-c", main, "train", "--config", str(path)]


def start(run_dir: pathlib.Path) -> subprocess.Popen:
    return subprocess.Popen(command(run_dir), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(run_dir: pathlib.Path) -> str:
    done = subprocess.run(command(run_dir), capture_output=True, text=True, timeout=TIMEOUT_SECONDS)
    assert done.returncode == 0, done.stderr
    return done.stderr


def wait_until(reached, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not reached():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.002)


def kill(process: subprocess.Popen) -> None:
    process.kill()  # SIGKILL: nothing of the process runs after it
    process.communicate()


def last_step(run_dir: pathlib.Path) -> int:
    return max((row["step"] for row in read_rows(run_dir / "metrics.jsonl")), default=0)


def assert_ended_like(run_dir: pathlib.Path, undisturbed: pathlib.Path) -> None:
    one, other = runs.arrays(run_dir), runs.arrays(undisturbed)
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)
    losses, expected = (
        [(row["step"], row["loss"]) for row in read_rows(path / "metrics.jsonl") if "loss" in row]
        for path in (run_dir, undisturbed)
    )
    assert losses == expected


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("undisturbed") / "run"
    finish(run_dir)
    return run_dir


def test_three_kills_at_random_moments_change_no_bit(undisturbed, tmp_path):
    run_dir = tmp_path / "run"
    rng = random.Random(time.time_ns())
    for third in range(3):
        process = start(run_dir)
        moment = rng.randrange(third * 45 + 4, third * 45 + 45)
        wait_until(lambda moment=moment: last_step(run_dir) >= moment, process)
        kill(process)
    assert "Resuming from step" in finish(run_dir)
    assert_ended_like(run_dir, undisturbed)


def test_a_kill_while_a_checkpoint_is_written_changes_no_bit(undisturbed, tmp_path):
    run_dir = tmp_path / "run"
    process = start(run_dir)
    wait_until(lambda: last_step(run_dir) > 30, process)
    wait_until(lambda: any((run_dir / "checkpoints").glob("*tmp*")), process)
    kill(process)
    assert any((run_dir / "checkpoints").glob("*tmp*"))  # half of one was left
    finish(run_dir)
    assert not any((run_dir / "checkpoints").glob("*tmp*"))
    assert_ended_like(run_dir, undisturbed)


HANG_IN_THE_THIRD_EVALUATION = """
import time
from t5x_lite.training import loop
evaluate, calls = loop.Evaluation.__call__, []
def hang(*arguments):
    calls.append(arguments)
    return time.sleep(1000) if len(calls) == 3 else evaluate(*arguments)
loop.Evaluation.__call__ = hang
"""


def test_a_kill_in_an_evaluation_costs_no_step_and_the_evaluation_is_made_up_for(undisturbed, tmp_path):
    run_dir = tmp_path / "run"
    python, option, main, *arguments = command(run_dir)
    hanging = [python, option, HANG_IN_THE_THIRD_EVALUATION + main, *arguments]
    process = subprocess.Popen(hanging, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    wait_until((run_dir / "checkpoints" / "12").is_dir, process)  # the third step with an evaluation
    kill(process)
    assert "Resuming from step 12" in finish(run_dir)
    assert_ended_like(run_dir, undisturbed)
    evaluated, expected = (
        [(row["step"], row["eval/loss"]) for row in read_rows(path / "metrics.jsonl") if "eval/loss" in row]
        for path in (run_dir, undisturbed)
    )
    assert evaluated == expected


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_run_told_to_stop_saves_exits_with_75_and_goes_on(number, undisturbed, tmp_path):
    run_dir = tmp_path / "run"
    process = start(run_dir)
    wait_until(lambda: last_step(run_dir) >= 40, process)
    os.kill(process.pid, number)
    output = process.communicate(timeout=TIMEOUT_SECONDS)[0]
    assert process.returncode == 75, output
    assert "Run the same command again to resume" in output
    finish(run_dir)
    assert_ended_like(run_dir, undisturbed)


def test_a_second_process_on_the_same_run_is_refused_and_harms_nothing(undisturbed, tmp_path):
    run_dir = tmp_path / "run"
    first = start(run_dir)
    wait_until(lambda: last_step(run_dir) >= 5, first)
    second = subprocess.run(command(run_dir), capture_output=True, text=True, timeout=TIMEOUT_SECONDS)
    assert second.returncode == 2
    assert f"is in use by process {first.pid} on" in second.stderr
    first.communicate(timeout=TIMEOUT_SECONDS)
    assert first.returncode == 0
    assert_ended_like(run_dir, undisturbed)
