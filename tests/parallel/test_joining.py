"""Tests t5x_lite/parallel/joining.py; tests/parallel/test_multihost.py has real processes"""

import subprocess
import sys

import jax
import pytest

from t5x_lite.parallel.joining import CRASH_REPORTER, lost_peer


@pytest.mark.parametrize(
    ("error", "is_lost"),
    [
        (jax.errors.JaxRuntimeError("UNAVAILABLE: Gloo AllReduce failed: Connection closed by peer"), True),
        (jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory"), False),
        (RuntimeError("unavailable"), False),
    ],
)
def test_an_error_of_a_collective_says_that_another_process_is_gone(error, is_lost):
    assert ("lost a peer" in (lost_peer(error) or "")) == is_lost


def test_the_end_of_a_process_is_explained_unless_all_was_well():
    reporter = [sys.executable, "-c", CRASH_REPORTER, "it is gone"]
    said = [subprocess.run(reporter, input=told, capture_output=True, text=True).stderr for told in ("", ".")]
    assert said == ["it is gone\n", ""]
