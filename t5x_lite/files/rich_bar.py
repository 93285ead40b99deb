# SPDX-License-Identifier: Apache-2.0
"""The bar on a terminal. Most processes show none: they are workers, or write to log files."""

import sys

from rich import progress
from rich.console import Console


def rich_bar(unit: str) -> progress.Progress:
    """Returns a bar; see `ProgressBar` for the unit."""
    count = [progress.MofNCompleteColumn(), progress.TextColumn(unit)]
    return progress.Progress(
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        *([progress.DownloadColumn(), progress.TransferSpeedColumn()] if unit == "bytes" else count),
        progress.TextColumn("{task.fields[text]}"),
        progress.TimeElapsedColumn(),
        progress.TimeRemainingColumn(),
        console=Console(stderr=True),
        redirect_stdout=sys.stdout.isatty(),  # piped rows must not go to the terminal
    )
