"""Tests t5x_lite/files/rich_bar.py; tests/files/test_progress.py has what a terminal shows"""

import pytest
from rich import progress

from t5x_lite.files.rich_bar import rich_bar


@pytest.mark.parametrize(("unit", "has_rate"), [("lines", False), ("bytes", True)])
def test_bytes_have_a_rate(unit, has_rate):
    columns = rich_bar(unit).columns
    assert any(isinstance(column, progress.TransferSpeedColumn) for column in columns) == has_rate


@pytest.mark.parametrize("width", [80, 200])
def test_numbers_and_times_stand_in_full_beside_a_long_text(width, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    bar = rich_bar("steps")
    bar.add_task("Training", total=10_000, completed=70, text="loss 1.5  " + 20 * "and more ")
    with bar.console.capture() as captured:
        bar.console.print(bar.get_renderable())
    (line,) = captured.get().splitlines()
    assert len(line.rstrip()) <= width
    assert "70/10000" in line
    assert "loss 1.5" in line
    assert line.rstrip().endswith("0:00:00 -:--:--")
