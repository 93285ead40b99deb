"""Tests scripts/bench_serve.py: a few seconds of its attack on a small model."""

# ruff: noqa: E402 - imports come after the skip

import json
import os
import subprocess
import sys

import pytest

for needed in ("starlette", "uvicorn", "prometheus_client", "jinja2"):
    pytest.importorskip(needed, reason="the extra serve is not installed")

from t5x_lite.checkpoints.load import save_hf
from tests.paths import ROOT
from tests.serving.models import pretrained


@pytest.mark.slow
def test_clients_and_health_are_answered_during_an_attack(tmp_path):
    save_hf(pretrained().model, pretrained().tokenizer, tmp_path / "small")
    command = [sys.executable, str(ROOT / "scripts" / "bench_serve.py"), "--checkpoint", str(tmp_path / "small")]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        [*command, "--attack", "--seconds", "8", "--clients", "8", "--prompts", "9"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    found = json.loads(ended.stdout)  # whether it withstood depends on what else the machine does
    assert ended.returncode in (0, 1), ended.stderr
    assert (found["attacked"]["errors"], found["attacked"]["mixed_up"], found["exit_status"]) == (0, 0, 0)
    assert found["attacked"]["requests"] > 0
    assert found["health"]["answered"] == found["health"]["asked"] > 0
    assert min(found["attacks"][kind] for kind in ("slow_headers", "endless_body", "hang_up", "odd_bytes")) > 0
    assert found["programs"]["after"]["kept"] <= 64
