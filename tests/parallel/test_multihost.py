"""Tests t5x_lite/parallel/multihost.py and scripts/launch: real processes on this machine."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest
import yaml

from t5x_lite.parallel import multihost
from t5x_lite.parallel.multihost import ADDRESS, COUNT, INDEX, process_0_first, settings
from tests.paths import ROOT
from tests.processes import FIELDS, START, ended, environment, started

HERE = {ADDRESS: "localhost:1234", COUNT: "4", INDEX: "2"}
SLURM = {"SLURM_JOB_ID": "7", "SLURM_STEP_NODELIST": "a", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"}


def test_a_laptop_is_a_single_process(monkeypatch):
    monkeypatch.setattr(multihost, "TPU_DEVICES", ())
    assert settings({}) is None
    assert settings({"SLURM_JOB_ID": "7", "SLURM_NTASKS": "4"}) is None  # a shell within an allocation


def test_three_variables_describe_the_processes():
    assert settings(HERE) == {"coordinator_address": "localhost:1234", "num_processes": 4, "process_id": 2}
    assert settings(HERE | {COUNT: "1", INDEX: "0"}) is None


@pytest.mark.parametrize(
    "environment",
    [
        SLURM | {"SLURM_NTASKS": "2"},
        {"OMPI_MCA_orte_hnp_uri": "1.0;tcp://10.0.0.1:1", "OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "1"},
        {"TPU_WORKER_HOSTNAMES": "a,b"},
        {"MEGASCALE_COORDINATOR_ADDRESS": "a"},
    ],
)
def test_jax_gets_no_arguments_where_it_detects_the_processes(environment):
    assert settings(environment) == {}


@pytest.mark.parametrize(
    "environment",
    [
        SLURM | {"SLURM_NTASKS": "1"},
        {"OMPI_COMM_WORLD_SIZE": "1", "OMPI_COMM_WORLD_RANK": "0"},
        {"TPU_WORKER_HOSTNAMES": "a,b", "TPU_SKIP_MDS_QUERY": "1"},
    ],
)
def test_one_task_is_a_single_process(environment):
    assert settings(environment) is None


def test_open_mpi_5_only_needs_the_address():
    ompi = {"OMPI_COMM_WORLD_SIZE": "3", "OMPI_COMM_WORLD_RANK": "1"}
    expected = {"coordinator_address": "a:1", "num_processes": 3, "process_id": 1}
    assert settings(ompi | {ADDRESS: "a:1"}) == expected
    with pytest.raises(ValueError, match=f"{ADDRESS} is not set"):
        settings(ompi)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({COUNT: ""}, f"{COUNT} is not set: set {ADDRESS}"),
        ({COUNT: "", INDEX: ""}, f"{ADDRESS} is set, but {COUNT}, {INDEX} is not set: set {ADDRESS}"),
        ({INDEX: "4"}, f"{INDEX} is 4 and {COUNT} is 4: use numbers from 0"),
        ({COUNT: "four"}, f"{COUNT} is 'four': use a whole number"),
        ({ADDRESS: "localhost"}, f"{ADDRESS} is 'localhost': use host:port"),
    ],
)
def test_settings_that_cannot_be_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        settings(HERE | change)


def test_a_smoke_run_on_the_cpu_of_a_tpu_host_is_a_single_process():
    assert settings({"TPU_WORKER_HOSTNAMES": "a,b", "JAX_PLATFORMS": "cpu"}) is None


HANGS = """
import sys, time
from t5x_lite.parallel import multihost
multihost.is_multiprocess = lambda: sys.argv[1] == "several"
with multihost.Watchdog() as watch:
    for _ in range(5):  # longer in all than it may take at once
        time.sleep(0.5)
        watch.heartbeat()
    time.sleep(3)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("processes", "status"), [("several", 1), ("one", 0)])
def test_a_process_without_progress_exits_and_prints_its_stack(processes, status):
    variables = os.environ | {multihost.HANG: "2", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", HANGS, processes]
    ended = subprocess.run(command, env=variables, capture_output=True, text=True)
    assert ended.returncode == status, ended.stderr
    assert ('"<string>", line 9' in ended.stderr) == (processes == "several")


@pytest.mark.parametrize("name", [multihost.HANG, multihost.HEARTBEAT])
def test_seconds_that_are_no_number_are_refused(name, monkeypatch):
    for variable, value in (HERE | {name: "never"}).items():
        monkeypatch.setenv(variable, value)
    with pytest.raises(ValueError, match=f"{name} is 'never': use a whole number of seconds, such as"):
        multihost.start(saves_on_sigterm=False)


def test_a_single_process_does_its_work_at_once():
    assert process_0_first(lambda: 5) == 5


# Real processes from here on: two or four, which share four devices.

OWN_FIELDS = FIELDS | {
    "eval.every_steps": 30,
    "checkpoint.every_steps": 10,
    "checkpoint.keep": 3,
}
TINY = [f"--{name}={value}" for name, value in OWN_FIELDS.items()]
SIGNAL_AT, NUM_STEPS = 15, 50
# A run that is to be stopped by SIGTERM: JAX's processes take a second or two to agree on a step, and steps are short.
UNTIL_STOPPED = 5_000


def training(run_dir, num_processes, num_steps=NUM_STEPS):
    return started(num_processes, "train", "--run_dir", str(run_dir), *TINY, "--train.num_steps", str(num_steps))


def rows(run_dir):
    return [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]


def losses(run_dir):
    return {row["step"]: row["loss"] for row in rows(run_dir) if "loss" in row}


def steps_saved(run_dir):
    return sorted(int(path.name) for path in (run_dir / "checkpoints").iterdir())


def wait_for_step(run_dir, step):
    until = time.monotonic() + 600
    while not (run_dir / "metrics.jsonl").exists() or len(losses(run_dir)) < step:
        assert time.monotonic() < until, "it does not come to the step"
        time.sleep(0.2)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A run of one process."""
    run_dir = tmp_path_factory.mktemp("processes") / "one"
    printed, statuses = ended(training(run_dir, 1))
    assert statuses == [0], printed
    return run_dir


def assert_same(run_dir, undisturbed):
    expected = losses(undisturbed)
    assert losses(run_dir) == pytest.approx({step: expected[step] for step in range(1, NUM_STEPS + 1)}, rel=1e-5)
    held_out = [
        {row["step"]: row["eval/loss"] for row in rows(run) if "eval/loss" in row and row["step"] <= NUM_STEPS}
        for run in (run_dir, undisturbed)
    ]
    assert held_out[0] == pytest.approx(held_out[1], rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("num_processes", [2, 4])
def test_several_processes_train_as_one(num_processes, undisturbed, tmp_path):
    printed, statuses = ended(training(tmp_path / "run", num_processes))
    assert statuses == [0] * num_processes, printed
    assert_same(tmp_path / "run", undisturbed)
    steps = [row["step"] for row in rows(tmp_path / "run") if "loss" in row]
    assert steps == list(range(1, NUM_STEPS + 1))  # each once: process 0 alone writes
    assert [("Training" in text, "Complete" in text) for text in printed] == [(True, True)] + [(False, False)] * (
        num_processes - 1
    )


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_a_process_that_is_killed_or_hangs_ends_the_others_and_the_run_goes_on(how, undisturbed, tmp_path):
    processes = training(tmp_path / "run", 2)
    wait_for_step(tmp_path / "run", SIGNAL_AT)
    begin = time.monotonic()
    processes[1].send_signal(how)
    printed, _ = processes[0].communicate(timeout=300)
    assert time.monotonic() - begin < 60
    assert processes[0].returncode != 0
    assert "process 0 of 2 " in printed.splitlines()[-1]
    assert "restart all of them: the run resumes from its last checkpoint" in printed.splitlines()[-1]
    processes[1].kill()
    processes[1].communicate()
    _, statuses = ended(training(tmp_path / "run", 2))
    assert statuses == [0, 0]
    assert_same(tmp_path / "run", undisturbed)


def last_step(run_dir):
    return max(losses(run_dir))


def assert_goes_on_as_undisturbed(run_dir, undisturbed, num_steps):
    """Asserts that a run that was stopped and went on has the losses of one process that was not, as far as it got."""
    printed, statuses = ended(training(undisturbed, 1, num_steps=max(num_steps, last_step(undisturbed))))
    assert statuses == [0], printed
    expected = losses(undisturbed)
    assert losses(run_dir) == pytest.approx({step: expected[step] for step in range(1, num_steps + 1)}, rel=1e-5)


@pytest.mark.slow
def test_sigterm_to_one_saves_once_for_all_and_another_number_of_processes_goes_on(undisturbed, tmp_path):
    processes = training(tmp_path / "run", 4, num_steps=UNTIL_STOPPED)
    wait_for_step(tmp_path / "run", SIGNAL_AT)
    processes[2].send_signal(signal.SIGTERM)
    printed, statuses = ended(processes)
    assert statuses == [75] * 4, printed
    last = last_step(tmp_path / "run")
    assert last < UNTIL_STOPPED
    assert steps_saved(tmp_path / "run")[-1] == last
    assert f"Stopped by SIGTERM at step {last}, saved" in printed[0]
    _, statuses = ended(training(tmp_path / "run", 2, num_steps=last + 10))
    assert statuses == [0, 0]
    assert_goes_on_as_undisturbed(tmp_path / "run", undisturbed, last + 10)


@pytest.mark.slow
def test_a_process_that_fails_leaves_at_once_and_the_others_say_that_it_is_gone(tmp_path):
    command = ["train", "--run_dir", str(tmp_path / "run"), *TINY, f"--train.num_steps={UNTIL_STOPPED}"]
    processes = started(2, *command, own=[[], ["--mesh.tensor=3"]])
    begin = time.monotonic()
    printed, statuses = ended(processes)
    assert statuses[1] == 2
    assert "mesh.tensor" in printed[1].splitlines()[-1]
    assert statuses[0] not in (0, 2)
    assert "process 0 of 2 " in printed[0].splitlines()[-1]
    assert time.monotonic() - begin < 60


@pytest.mark.slow
def test_infer_and_eval_are_shared(undisturbed, tmp_path):
    lines = [f"Returns the <extra_id_0> of number {number}." for number in range(23)]
    (tmp_path / "lines.txt").write_text("\n".join(lines) + "\n")
    answers = []
    for num_processes in (1, 2):
        output = tmp_path / f"of_{num_processes}.jsonl"
        command = ["infer", "--checkpoint", str(undisturbed), "--input", str(tmp_path / "lines.txt")]
        command += ["--output", str(output), "--max_new_tokens", "6", "--batch_size", "4"]
        printed, statuses = ended(started(num_processes, *command))
        assert statuses == [0] * num_processes, printed
        answers.append([json.loads(line)["prediction"] for line in output.read_text().splitlines()])
    assert answers[0] == answers[1]
    assert len(answers[0]) == len(lines)
    found = []
    for num_processes in (1, 2):
        printed, statuses = ended(started(num_processes, "eval", "--checkpoint", str(undisturbed), "--json"))
        assert statuses == [0] * num_processes, printed
        facts = next(json.loads(line) for line in printed[0].splitlines() if line.startswith("{"))
        found.append({name: value for name, value in facts.items() if name.startswith("eval/")})
    assert found[1] == pytest.approx(found[0], rel=1e-5)


ECHO, RUNNING = "#!/bin/sh\necho scontrol $*\n", "#!/bin/sh\necho RUNNING\n"


@pytest.fixture
def program(tmp_path):
    """A directory with bin/t5x-lite, as an environment has it, and bin/srun, as a node of SLURM with two tasks."""
    (tmp_path / "bin").mkdir()
    shim = f'#!/usr/bin/env bash\nexec {sys.executable} -c "{START}" "$@"\n'
    srun = """#!/usr/bin/env bash
while [[ $1 == --* ]]; do shift; done
trap 'kill -TERM $(jobs -p)' TERM
for index in 0 1; do
  SLURM_STEP_NODELIST=localhost SLURM_NTASKS=2 SLURM_PROCID=$index SLURM_LOCALID=$index SLURM_STEP_NUM_NODES=1 "$@" &
done
highest=0
for task in $(jobs -p); do
  wait "$task" && status=0 || status=$?
  while kill -0 "$task" 2> /dev/null; do wait "$task" && status=0 || status=$?; done
  wait "$task" && status=0 || status=$?
  if ((status > highest)); then highest=$status; fi
done
exit "$highest"
"""
    for name, text in {"t5x-lite": shim, "srun": srun, "scontrol": ECHO, "squeue": RUNNING}.items():
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    return tmp_path


def launched(script, program, *arguments, **variables):
    more = {"PATH": f"{program / 'bin'}:{os.environ['PATH']}"} | variables
    command = ["bash", str(ROOT / "scripts" / "launch" / script), *arguments]
    return subprocess.Popen(
        command, env=environment(2, **more), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def assert_stops_and_goes_on(start, run_dir, undisturbed):
    """Asserts that what a launcher runs is stopped by SIGTERM to it, saved, and goes on; returns what it printed.

    Args:
      start: of a number of steps, starts the launcher.
      run_dir: of the run.
      undisturbed: run of one process.
    """
    first = start(UNTIL_STOPPED)
    wait_for_step(run_dir, SIGNAL_AT)
    first.send_signal(signal.SIGTERM)
    printed, _ = first.communicate(timeout=300)
    assert first.returncode == 75, printed
    assert "Stopped by SIGTERM" in printed
    num_steps = last_step(run_dir) + 10
    second = start(num_steps)
    again, _ = second.communicate(timeout=300)
    assert second.returncode == 0, again
    assert_goes_on_as_undisturbed(run_dir, undisturbed, num_steps)
    return printed


@pytest.mark.slow
def test_the_local_launcher_runs_several_processes_and_forwards_sigterm(program, undisturbed, tmp_path):
    def start(num_steps):
        run = ["train", "--run_dir", str(tmp_path / "run"), *TINY, f"--train.num_steps={num_steps}"]
        return launched("local_cpu.sh", program, *run, NUM_PROCESSES="2", DEVICES="4", XLA_FLAGS="")

    assert_stops_and_goes_on(start, tmp_path / "run", undisturbed)


@pytest.mark.slow
def test_the_slurm_launcher_runs_as_slurm_starts_it_and_is_queued_again_when_its_time_is_over(
    program, undisturbed, tmp_path
):
    def start(num_steps):
        run = ["train", "--run_dir", str(tmp_path / "run"), *TINY, f"--train.num_steps={num_steps}"]
        return launched("slurm_gpu.sh", program, *run, VENV=str(program), SLURM_JOB_ID=str(os.getpid()))

    printed = assert_stops_and_goes_on(start, tmp_path / "run", undisturbed)
    assert f"scontrol requeue {os.getpid()}" in printed


def test_the_jobset_matches_its_schema():
    job = yaml.safe_load((ROOT / "scripts" / "launch" / "gke_multislice.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("jobset.x-k8s.io/v1alpha2", "JobSet")
    assert job["metadata"]["name"]
    assert set(job["spec"]) <= {"failurePolicy", "replicatedJobs", "network", "successPolicy", "startupPolicy"}
    (slices,) = job["spec"]["replicatedJobs"]
    assert set(slices) == {"name", "replicas", "template"}
    work = slices["template"]["spec"]
    assert work["parallelism"] == work["completions"] == 16 * 16 // 4  # a pod a host, a host four chips
    pod = work["template"]["spec"]
    assert pod["restartPolicy"] == "Never"
    (container,) = pod["containers"]
    assert container["resources"]["limits"]["google.com/tpu"] == 4
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod["volumes"]}
    config = next(item for item in container["args"] if item.startswith("--config=")).removeprefix("--config=/")
    assert (ROOT / "configs" / pathlib.Path(config).relative_to("configs")).is_file()


@pytest.mark.parametrize("script", sorted((ROOT / "scripts" / "launch").glob("*.sh")), ids=lambda path: path.name)
def test_a_launcher_is_shell_that_says_how_to_use_it(script):
    assert subprocess.run(["bash", "-n", str(script)], capture_output=True, text=True).stderr == ""
    text = script.read_text()
    assert f"scripts/launch/{script.name} " in text.split("set -euo pipefail")[0]
