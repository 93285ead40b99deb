"""Tests scripts/bench_gpu.py: its dry run, on a CPU."""

import json
import os
import subprocess
import sys

import pytest

from tests.paths import ROOT


@pytest.mark.slow
def test_a_dry_run_times_each_size_of_batch():
    command = [sys.executable, str(ROOT / "scripts" / "bench_gpu.py"), "--dry_run", "--models", "t5_1_1_base"]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    answer = subprocess.run(
        [*command, "--remat", "minimal", "--rounds", "2"], env=environment, capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, answer.stderr
    found = [json.loads(line) for line in answer.stdout.splitlines()]
    assert [row["batch"] for row in found] == [8, 16]
    for row in found:
        assert row["dry_run"]
        assert (row["model"], row["dtype"], row["remat"]) == ("t5_1_1_base", "bfloat16", "minimal")
        assert row["sequences_per_s"] >= row["sequences_per_s_median"] > 0
        assert row["mfu"] is None
        assert "published" not in row
