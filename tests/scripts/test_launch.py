"""Tests what each exit status leads to in scripts/launch, with stand-ins for `t5x-lite`, SLURM and Google Cloud."""

import os
import subprocess

import pytest
import yaml

from tests.paths import ROOT

LAUNCH = ROOT / "scripts" / "launch"
STOPPED = 75
# Ends with the statuses in the file, one a time, and then with 0; writes down what it was called with.
FAKE_T5X_LITE = """#!/usr/bin/env bash
echo "t5x-lite $*" >> "$FAKE/calls"
status=$(head -n 1 "$FAKE/statuses")
sed -i 1d "$FAKE/statuses"
exit "${status:-0}"
"""
FAKE_SRUN = """#!/usr/bin/env bash
while [[ $1 == --* ]]; do shift; done
exec "$@"
"""
FAKE_GCLOUD = """#!/usr/bin/env bash
case "$*" in
  *" describe "*) echo "${STATE:-ACTIVE}" ;;
  *" ssh "*" --worker 0 "*) [[ ! -e $FAKE/lost ]] && cd "$HOME" && bash -c "${!#}" ;;
  *" ssh "*) cd "$HOME" && bash -c "${!#}" ;;
esac
"""


@pytest.fixture
def launch(tmp_path):
    """Runs a script; `t5x-lite` ends with `statuses`. Returns the script's status, what it printed and all calls."""
    programs = {
        "bin/t5x-lite": FAKE_T5X_LITE,
        "home/t5x_lite/.venv/bin/t5x-lite": FAKE_T5X_LITE,
        "home/t5x_lite/.venv/bin/pip": "#!/bin/sh\n",
        "bin/srun": FAKE_SRUN,
        "bin/gcloud": FAKE_GCLOUD,
        "bin/scontrol": '#!/bin/sh\necho "scontrol $*" >> "$FAKE/calls"\n',
        "bin/squeue": "#!/bin/sh\necho ${STATE:-RUNNING}\n",
    }
    for name, text in programs.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)

    def run(script, *statuses, **variables):
        (tmp_path / "statuses").write_text("".join(f"{status}\n" for status in statuses))
        (tmp_path / "calls").write_text("")
        variables |= {"FAKE": str(tmp_path), "HOME": str(tmp_path / "home"), "VENV": str(tmp_path)}
        path = {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
        command = ["bash", str(LAUNCH / script), "train", "--run_dir", "a b's"]
        ended = subprocess.run(command, env=os.environ | variables | path, capture_output=True, text=True, timeout=60)
        return ended.returncode, ended.stderr, (tmp_path / "calls").read_text().splitlines()

    return run


RUN = "t5x-lite train --run_dir a b's"


@pytest.mark.parametrize(
    ("status", "calls"), [(0, []), (2, []), (70, []), (143, []), (STOPPED, ["scontrol requeue 17"])]
)
def test_slurm_queues_a_run_that_was_stopped_again_and_no_other(launch, status, calls):
    assert launch("slurm_gpu.sh", status, SLURM_JOB_ID="17") == (status, "", [RUN, *calls])


def test_slurm_does_not_queue_a_job_again_that_is_being_cancelled(launch):
    assert launch("slurm_gpu.sh", STOPPED, SLURM_JOB_ID="17", STATE="COMPLETING") == (STOPPED, "", [RUN])


TPU = {"NAME": "t5", "ZONE": "z", "TYPE": "v5litepod-64", "REPOSITORY": "https://example.org/t5x_lite"}


@pytest.mark.slow  # it follows the log for a second each time
@pytest.mark.parametrize("status", [0, 2, 70])
def test_a_tpu_pod_starts_a_run_that_was_stopped_again_until_it_ends_otherwise(launch, status):
    assert launch("tpu_pod.sh", STOPPED, STOPPED, status, **TPU) == (status, "", [RUN] * 3)


@pytest.mark.slow
def test_a_tpu_pod_whose_status_is_unknown_is_a_failure(launch, tmp_path):
    (tmp_path / "lost").touch()
    status, error, calls = launch("tpu_pod.sh", STOPPED, **TPU)
    assert (status, calls) == (1, [RUN])
    assert "lost the connection to t5" in error


@pytest.mark.parametrize(
    ("statuses", "expected"), [((0, 0), 0), ((75, 75), 75), ((75, 2), 2), ((2, 75), 2), ((0, 70), 70)]
)
def test_a_failure_of_one_local_process_outranks_that_the_others_were_stopped(launch, statuses, expected, tmp_path):
    fake = "#!/bin/sh\nset -- $STATUSES\n[ $JAX_PROCESS_ID = 1 ] && shift\nexit $1\n"
    (tmp_path / "bin" / "t5x-lite").write_text(fake)
    variables = {"STATUSES": " ".join(map(str, statuses)), "NUM_PROCESSES": "2"}
    assert launch("local_cpu.sh", **variables)[0] == expected


def test_gke_restarts_a_job_set_without_end_only_if_it_was_stopped_or_disrupted():
    job = yaml.safe_load((LAUNCH / "gke_multislice.yaml").read_text())["spec"]
    (rule,) = job["failurePolicy"]["rules"]
    assert rule["action"] == "RestartJobSetAndIgnoreMaxRestarts"
    assert rule["onJobFailureReasons"] == ["PodFailurePolicy"]
    slices = job["replicatedJobs"][0]["template"]["spec"]
    (container,) = slices["template"]["spec"]["containers"]
    stopped, disrupted = slices["podFailurePolicy"]["rules"]
    codes = {"containerName": container["name"], "operator": "In", "values": [STOPPED]}
    assert stopped == {"action": "FailJob", "onExitCodes": codes}
    assert disrupted == {"action": "FailJob", "onPodConditions": [{"type": "DisruptionTarget"}]}
