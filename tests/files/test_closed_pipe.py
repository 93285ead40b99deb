"""Tests t5x_lite/files/closed_pipe.py; each command is tested in tests/test_closed_pipes.py."""

import contextlib
import os
import subprocess
import sys

import pytest

from t5x_lite.commands.options import failure
from t5x_lite.files.closed_pipe import OutputClosed, is_closed_output, opened_output
from tests.paths import ROOT

PROGRAM = """
import sys
from t5x_lite import cli
def main(arguments):
    {}
    return 3
cli._main = main
sys.exit(cli.main())
"""
WITH_RICH = "from rich.console import Console; Console(file=sys.stdout).print('x')"


def run(body, *, both=False, **environment):
    """Runs a program whose standard output, or error too, is a pipe that nobody reads."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM.format(body)],
            stdout=writer,
            stderr=writer if both else subprocess.PIPE,
            cwd=ROOT,
            env=os.environ | environment,
        )
    finally:
        os.close(writer)
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    "body",
    [
        "print('x')",
        "print('x', flush=True)",
        "print('x' * 100_000)",
        "print('x'); sys.exit(0)",
        "sys.stdout.write('x'); raise SystemExit(0)",
        WITH_RICH,
    ],
)
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_closed_output_ends_the_program_without_a_word(body, unbuffered):
    assert run(body, PYTHONUNBUFFERED=unbuffered) == (failure.UNREAD, b"")


def test_a_closed_standard_error_does_too():
    assert run("print('x', file=sys.stderr)", both=True) == (failure.UNREAD, None)


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ("pass", 3, b""),
        ("sys.exit(5)", 5, b""),
        ("raise ValueError('mine')", 1, b"ValueError: mine"),
        ("raise BrokenPipeError('of a worker')", 1, b"BrokenPipeError: of a worker"),
    ],
)
def test_other_ends_and_errors_stay_as_they_are(body, status, message):
    done = subprocess.run([sys.executable, "-c", PROGRAM.format(body)], capture_output=True, cwd=ROOT)
    assert done.returncode == status
    assert message in done.stderr


def test_a_named_pipe_that_is_closed_is_an_output_too(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(opened_output(str(path)))
        os.close(reader)
        file.write("x")
        with pytest.raises(OutputClosed) as caught:
            stack.close()
    assert is_closed_output(caught.value)


def test_a_dash_is_standard_output(capsys):
    with opened_output("-") as file:
        file.write("x\n")
    assert capsys.readouterr().out == "x\n"


def test_a_file_appears_once_it_is_complete(tmp_path):
    path = tmp_path / "out"
    path.write_text("before")
    with opened_output(str(path)) as file:
        file.write("after")
        file.flush()
        assert path.read_text() == "before"
    assert path.read_text() == "after"
    assert os.listdir(tmp_path) == ["out"]
