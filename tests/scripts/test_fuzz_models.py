"""Tests scripts/fuzz_models.py: a short fuzz."""

import json
import subprocess
import sys

import pytest

from tests.paths import ROOT


@pytest.mark.slow
def test_damaged_and_hostile_directories_are_loaded_or_refused_in_one_line():
    command = [sys.executable, str(ROOT / "scripts" / "fuzz_models.py"), "--seconds", "40", "--workers", "1"]
    answer = subprocess.run([*command, "--seed", "3"], cwd=ROOT, capture_output=True, text=True, timeout=300)
    found = json.loads(answer.stdout)
    assert not found["broken"], found["broken"]
    assert found["loaded"] + found["refused"] == found["tried"] > 0
