"""Tests t5x_lite/__main__.py with processes of its own."""

import os
import re
import subprocess
import sys

import pytest

from tests.paths import ROOT

INTERRUPTED_WHILE_STARTING = """
import os, signal, sys

class Press:
    def find_spec(self, name, *_):
        if name == "t5x_lite.cli":
            os.kill(os.getpid(), signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)
sys.meta_path.insert(0, Press())
from t5x_lite.__main__ import main
sys.exit(main())
"""


def start(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True)


def test_the_module_runs_the_command_line():
    finished = start("-m", "t5x_lite", "trian")
    assert finished.returncode == 2
    assert "trian" in finished.stderr


@pytest.mark.skipif(os.name != "posix", reason="Ctrl-C is handled on POSIX alone")
def test_ctrl_c_is_handled_before_the_command_line_is_imported():
    finished = start("-c", INTERRUPTED_WHILE_STARTING, "models")
    assert finished.returncode == 130
    assert re.fullmatch("t5x-lite( models)?: interrupted\n", finished.stderr)


def test_little_is_imported_before_ctrl_c_is_handled():
    program = "import sys, t5x_lite.__main__; print({'argparse', 'inspect', 'pathlib', 'jax'} & sys.modules.keys())"
    assert start("-c", program).stdout == "set()\n"
