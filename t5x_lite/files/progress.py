# SPDX-License-Identifier: Apache-2.0
"""The progress bar of every command, on standard error."""

import sys
from typing import Any, Self


class ProgressBar:
    """Shows the progress of a job; hidden unless standard error is a terminal.

    Args:
      description: the activity, such as "Tokenising".
      total: the amount of work; None if unknown until `update` sets it.
      unit: the unit of work, such as "lines"; "bytes" are shown in MB, with their rate.
      completed: work done before this process started.
      text: the text to show beside the numbers.
      enabled: False also silences `print`, as in all processes but the first.
    """

    def __init__(
        self,
        description: str,
        total: int | None = None,
        *,
        unit: str = "",
        completed: int = 0,
        text: str = "",
        enabled: bool = True,
    ):
        self._enabled = enabled
        self._progress = None
        if enabled and sys.stderr.isatty():
            from t5x_lite.files.rich_bar import rich_bar

            self._progress = rich_bar(unit)
            self._task = self._progress.add_task(description, total=total, completed=completed, text=text)

    @property
    def visible(self) -> bool:
        """Whether the bar is shown."""
        return self._progress is not None

    def __enter__(self) -> Self:
        if self._progress is not None:
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.stop()

    def advance(self, count: int = 1) -> None:
        """Adds finished work."""
        if self._progress is not None:
            self._progress.advance(self._task, count)

    def update(self, *, completed: int | None = None, total: int | None = None, text: str | None = None) -> None:
        """Sets the amounts of work or the text; None leaves a value unchanged."""
        if self._progress is not None:
            fields: dict[str, Any] = {} if text is None else {"text": text}
            self._progress.update(self._task, completed=completed, total=total, **fields)

    def print(self, text: str) -> None:
        """Prints a line on standard error, above the bar if it is shown."""
        if self._progress is not None:
            self._progress.console.print(text, markup=False, highlight=False, soft_wrap=True)
        elif self._enabled:
            print(text, file=sys.stderr, flush=True)
