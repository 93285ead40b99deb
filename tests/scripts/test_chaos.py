"""Tests scripts/chaos.py: its short form, which must find nothing lost and nothing silent."""

import json
import os
import subprocess
import sys

import pytest

from tests.paths import ROOT

SECTIONS = ("kills", "disks", "damage", "writers")


@pytest.mark.slow
def test_nothing_is_lost_or_silent(tmp_path):
    command = [sys.executable, str(ROOT / "scripts" / "chaos.py"), "--short", "--seconds", "75"]
    environment = {"PATH": os.environ["PATH"], "JAX_PLATFORMS": "cpu"}
    answer = subprocess.run(
        [*command, "--json", str(tmp_path / "found.json")], env=environment, capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["lost"] == found["silent"] == 0
    assert {row["section"] for row in found["rows"]} <= set(SECTIONS)
    assert found["survived"] > 0
