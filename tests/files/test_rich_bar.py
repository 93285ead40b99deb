"""Tests t5x_lite/files/rich_bar.py; tests/files/test_progress.py has what a terminal shows"""

import pytest
from rich import progress

from t5x_lite.files.rich_bar import rich_bar


@pytest.mark.parametrize(("unit", "has_rate"), [("lines", False), ("bytes", True)])
def test_bytes_have_a_rate(unit, has_rate):
    columns = rich_bar(unit).columns
    assert any(isinstance(column, progress.TransferSpeedColumn) for column in columns) == has_rate
