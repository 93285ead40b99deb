"""Tests t5x_lite/__main__.py with processes of its own."""

import os
import re
import signal
import subprocess
import sys

import pytest

from tests.paths import ROOT

ON_POSIX = pytest.mark.skipif(os.name != "posix", reason="Ctrl-C is handled on POSIX alone")
PRESSED = """
import atexit, os, signal, sys

def press():
    os.kill(os.getpid(), signal.SIGINT)

class Finder:
    def find_spec(self, name, *_):
        if name == "WHEN":
            press()

signal.signal(signal.SIGINT, signal.default_int_handler)
sys.meta_path.insert(0, Finder())
if "WHEN" == "exit":
    atexit.register(press)
from t5x_lite.__main__ import main
sys.exit(main())
"""


def start(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True)


def pressed(when: str, argument: str) -> tuple[int, str]:
    """Presses Ctrl-C at the import of a module, or at exit; returns the status and standard error."""
    finished = start("-c", PRESSED.replace("WHEN", when), argument)
    return finished.returncode, finished.stderr


def test_the_module_runs_the_command_line():
    finished = start("-m", "t5x_lite", "trian")
    assert finished.returncode == 2
    assert "trian" in finished.stderr


@ON_POSIX
def test_ctrl_c_is_handled_before_the_command_line_is_imported():
    status, errors = pressed("t5x_lite.cli", "models")
    assert status == 130
    assert re.fullmatch("t5x-lite( models)?: interrupted\n", errors)


@ON_POSIX
@pytest.mark.parametrize("when", ["t5x_lite.parallel.interrupts", "exit"])
def test_ctrl_c_before_and_after_the_command_ends_the_process_without_a_traceback(when):
    assert pressed(when, "--help") == (-signal.SIGINT, "")


def test_little_is_imported_before_ctrl_c_is_handled():
    program = "import sys, t5x_lite.__main__; print({'contextlib', 're', 'typing'} & sys.modules.keys())"
    assert start("-c", program).stdout == "set()\n"
