# SPDX-License-Identifier: Apache-2.0
"""The bar on a terminal. Most processes show none: they are workers, or write to log files."""

import sys

from rich import progress
from rich.console import Console
from rich.table import Column

WIDE = 140  # columns of a terminal in which all numbers stand beside a wide bar
WIDE_BAR, NARROW_BAR = 40, 8


def rich_bar(unit: str) -> progress.Progress:
    """Returns a bar; see `ProgressBar` for the unit."""
    console = Console(stderr=True)
    count = [progress.MofNCompleteColumn(), progress.TextColumn(unit)]
    return progress.Progress(
        progress.TextColumn("{task.description}"),
        progress.BarColumn(bar_width=WIDE_BAR if console.width >= WIDE else NARROW_BAR),
        *([progress.DownloadColumn(), progress.TransferSpeedColumn()] if unit == "bytes" else count),
        progress.TextColumn("{task.fields[text]}", table_column=Column(ratio=1, no_wrap=True)),  # cut first, if any is
        progress.TimeElapsedColumn(),
        progress.TimeRemainingColumn(),
        console=console,
        expand=True,
        redirect_stdout=sys.stdout.isatty(),  # piped rows must not go to the terminal
    )
