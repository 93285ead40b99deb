"""Tests the exit statuses of docs/reference/exit_statuses.md with real commands, of one process and of two."""

import json
import signal
import subprocess
import sys
import time

import pytest

from tests.paths import ROOT
from tests.processes import FIELDS, START, ended, environment, started

pytestmark = pytest.mark.slow
TINY = [f"--{name}={value}" for name, value in FIELDS.items()]
ENDLESS = 100_000
TO_PIPE = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
both = pytest.mark.parametrize("num_processes", [1, 2])


def train(run_dir, num_steps, *more):
    return ["train", "--run_dir", str(run_dir), *TINY, f"--train.num_steps={num_steps}", *more]


def statuses(num_processes, *arguments):
    printed, found = ended(started(num_processes, *arguments))
    return found, printed


def wait_for(path, num_lines=1):
    until = time.monotonic() + 300
    while not path.exists() or path.read_text().count("\n") < num_lines:
        assert time.monotonic() < until, f"{path} does not come"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A complete run."""
    run_dir = tmp_path_factory.mktemp("exit") / "run"
    found, printed = statuses(1, *train(run_dir, 3))
    assert found == [0], printed
    return run_dir


@both
def test_train_ends_with_0_once_it_is_complete_and_when_it_is_asked_again(num_processes, tmp_path):
    for _ in range(2):
        found, printed = statuses(num_processes, *train(tmp_path / "run", 3))
        assert found == [0] * num_processes, printed


@both
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_train_ends_with_75_in_every_process_when_one_is_told_to_stop(num_processes, number, tmp_path):
    processes = started(num_processes, *train(tmp_path / "run", ENDLESS))
    wait_for(tmp_path / "run" / "metrics.jsonl", 3)
    processes[-1].send_signal(number)
    printed, found = ended(processes)
    assert found == [75] * num_processes, printed
    assert "saved. Run the same command again to resume." in printed[0]


STAGES = {
    "imports": "sys.meta_path.insert(0, Finder)",
    "checks": "from t5x_lite.training import loop\nloop.check_start = lambda *_, **__: kill()",
    "preparation": "from t5x_lite.training import loop\nloop.prepare_corpora = lambda *_, **__: kill()",
}
TERMINATED = """
import os, signal, sys, time
def kill(*_):
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(60)

class Finder:
    def find_spec(name, *_):
        return kill() if name == "jax" else None
"""


@pytest.mark.parametrize("stage", STAGES)
def test_train_ends_with_75_when_it_is_told_to_stop_before_the_first_step_and_goes_on(stage, tmp_path):
    code = f"{TERMINATED}\n{STAGES[stage]}\n{START}"
    command = [sys.executable, "-c", code, *train(tmp_path / "run", 3)]
    done = subprocess.run(command, env=environment(1), capture_output=True, text=True)
    assert done.returncode == 75, done.stderr
    assert done.stderr.splitlines()[-1].endswith("stopped by SIGTERM with nothing to save; run the same command again")
    found, printed = statuses(1, *train(tmp_path / "run", 3))
    assert found == [0], printed


@both
def test_every_command_ends_with_2_after_a_mistake(num_processes, finished, tmp_path):
    (tmp_path / "lines.txt").write_text("one\n")
    for arguments in (
        train(finished, 5, "--seed=7"),
        train(tmp_path / "run", 3, "--train.batch_size=0"),
        ["eval", "--checkpoint", str(tmp_path / "missing")],
        ["infer", "--checkpoint", str(tmp_path / "missing"), "--input", str(tmp_path / "lines.txt")],
    ):
        found, printed = statuses(num_processes, *arguments)
        assert found == [2] * num_processes, printed


LATE = """
import os, time
from t5x_lite.training import loop
check_start = loop.check_start
def check_late(*arguments, **settings):
    time.sleep(3 * int(os.environ["JAX_PROCESS_ID"]))
    return check_start(*arguments, **settings)
loop.check_start = check_late
"""


def test_a_process_that_finds_the_mistake_seconds_after_process_0_ends_with_2_as_well(tmp_path):
    mistaken = train(tmp_path / "run", 3, "--train.batch_size=7")
    printed, found = ended(started(2, *mistaken, start=f"{LATE}\n{START}"))
    assert found == [2, 2], printed
    assert all("train.batch_size is 7" in text for text in printed)


@both
def test_eval_and_infer_end_with_0_when_they_are_complete(num_processes, finished, tmp_path):
    (tmp_path / "lines.txt").write_text("one <extra_id_0> three\n")
    output = ["--output", str(tmp_path / "answers.jsonl")]
    for arguments in (
        ["eval", "--checkpoint", str(finished), "--num_batches", "1"],
        ["infer", "--checkpoint", str(finished), "--input", str(tmp_path / "lines.txt"), *output],
    ):
        found, printed = statuses(num_processes, *arguments)
        assert found == [0] * num_processes, printed


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, -signal.SIGTERM), (signal.SIGINT, 130)])
def test_infer_that_is_told_to_stop_has_failed_and_the_same_command_completes_it(number, status, finished, tmp_path):
    texts, answers = tmp_path / "lines.txt", tmp_path / "answers.jsonl"
    texts.write_text("".join(f"one <extra_id_0> {index}\n" for index in range(3_000)))
    command = ["infer", "--checkpoint", str(finished), "--input", str(texts), "--output", str(answers)]
    (process,) = started(1, *command, "--batch_size", "8", "--max_new_tokens", "4")
    until = time.monotonic() + 300
    while not any(path.stat().st_size for path in tmp_path.glob("*answers.jsonl*")):
        assert time.monotonic() < until
        time.sleep(0.05)
    process.send_signal(number)
    printed, found = ended([process])
    assert found == [status], printed
    assert not answers.exists()
    found, printed = statuses(1, *command, "--batch_size", "8", "--max_new_tokens", "4")
    assert found == [0], printed
    assert [json.loads(line)["inputs"] for line in answers.read_text().splitlines()] == texts.read_text().splitlines()


def test_train_ends_with_130_when_it_is_interrupted_before_the_first_step(tmp_path):
    code = f"import os, signal, time\nfrom t5x_lite.training.run_dir import RunDirectory\n{INTERRUPTED}\n{START}"
    command = [sys.executable, "-c", code, *train(tmp_path / "run", 3)]
    done = subprocess.run(command, env=environment(1), capture_output=True, text=True)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (130, "t5x-lite train: interrupted"), done.stderr


INTERRUPTED = "RunDirectory.record = lambda *_: (os.kill(os.getpid(), signal.SIGINT), time.sleep(60))"


def test_train_and_convert_does_not_convert_half_a_model(tmp_path):
    program = tmp_path / "t5x-lite"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{START}" "$@"\n')
    program.chmod(0o755)
    model = tmp_path / "model"

    def shell(num_steps):
        run = " ".join(train(tmp_path / "run", num_steps)).replace("[", "'[").replace("]", "]'")
        line = f"{program} {run} && {program} convert {tmp_path / 'run'} {model}"
        return subprocess.Popen(["bash", "-c", line], env=environment(1), cwd=ROOT, **TO_PIPE)

    first = shell(ENDLESS)
    wait_for(tmp_path / "run" / "metrics.jsonl", 3)
    subprocess.run(["pkill", "-TERM", "-P", str(first.pid)], check=True)
    (printed,), found = ended([first])
    assert found == [75], printed
    assert not model.exists()
    num_steps = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[-1])["step"] + 2
    (printed,), found = ended([shell(num_steps)])
    assert found == [0], printed
    assert (model / "model.safetensors").is_file()
