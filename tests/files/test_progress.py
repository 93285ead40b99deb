"""Tests t5x_lite/files/progress.py"""

import io
import re
import subprocess
import sys
from contextlib import redirect_stderr

import pytest

from t5x_lite.files.progress import ProgressBar


class Terminal(io.StringIO):
    def isatty(self):
        return True

    def lines(self):
        """The lines printed, without control sequences."""
        return [line.rstrip() for line in re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.getvalue()))]


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("TERM", "xterm")
    return Terminal()


def test_a_log_file_gets_the_printed_lines_alone(capsys):
    with ProgressBar("Tokenising", 3, unit="shards") as bar:
        bar.advance()
        bar.print("a [bold] line")
        bar.update(completed=3, text="done")
        assert not bar.visible
    assert capsys.readouterr().err == "a [bold] line\n"


def test_a_terminal_shows_counts_the_text_and_lines_above_the_bar(terminal):
    with redirect_stderr(terminal), ProgressBar("Training", 70, completed=20, text="compiling") as bar:
        bar.update(completed=33, text="loss 1.5")
        bar.print("a [bold] line")
        bar.advance(2)
        assert bar.visible
    assert "a [bold] line" in terminal.lines()
    assert re.search(r"Training .*35/70 .*loss 1.5 .*\d:\d\d:\d\d", terminal.lines()[-2])


def test_the_total_may_become_known_later(terminal):
    with redirect_stderr(terminal), ProgressBar("Measuring", unit="batches") as bar:
        bar.advance()
        bar.update(total=9)
    assert "1/9 batches" in terminal.lines()[-2]


def test_bytes_are_shown_in_larger_units(terminal):
    with redirect_stderr(terminal), ProgressBar("Writing", 7_000_000, unit="bytes") as bar:
        bar.advance(3_500_000)
    assert "3.5/7.0 MB" in terminal.lines()[-2]


def test_what_is_piped_from_standard_output_stays_there(terminal, capsys):
    with redirect_stderr(terminal), ProgressBar("Answering", 2) as bar:
        print("a row")
        bar.advance()
    assert capsys.readouterr().out == "a row\n"


def test_a_disabled_bar_prints_nothing(terminal):
    with redirect_stderr(terminal), ProgressBar("Training", 2, enabled=False) as bar:
        bar.print("hello")
    assert terminal.getvalue() == ""


def test_rich_is_imported_for_terminals_alone():
    code = "import sys, t5x_lite.files.progress as p; p.ProgressBar('x'); assert 'rich' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, stderr=subprocess.PIPE)
