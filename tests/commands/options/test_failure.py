"""Tests t5x_lite/commands/options/failure.py; tests/test_closed_pipes.py and tests/parallel have the other statuses"""

import pytest

from t5x_lite import cli
from t5x_lite.commands.options import failure


def test_a_mistake_found_at_run_time_is_one_line_and_status_two(capsys, tmp_path):
    assert cli.main(["infer", "--checkpoint", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"t5x-lite infer: {tmp_path} is neither a run directory")
    assert error.count("\n") == 1


def test_the_traceback_can_be_asked_for(monkeypatch, tmp_path):
    monkeypatch.setenv(failure.SHOW_TRACEBACK, "1")
    with pytest.raises(ValueError, match="is neither a run directory"):
        cli.main(["infer", "--checkpoint", str(tmp_path)])
