# SPDX-License-Identifier: Apache-2.0
"""A run's TensorBoard events: its numbers, a chart of its losses, its config, and examples of its evaluations."""

import html
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Self

from tensorboardX import SummaryWriter
from tensorboardX.record_writer import register_writer_factory

from t5x_lite.files.full_disk import raise_named

Example = tuple[str, str, str]  # inputs, targets and prediction
MAX_CHARACTERS = 1_000  # of each text
PREFIX = "t5x-lite"  # of the paths that tensorboardX opens by `EventFile`
LOSSES = {"loss": {"training and held-out": ["Multiline", [r"train/loss", r"eval/(.+/)?loss"]]}}


class Events:
    """Writes TensorBoard events.

    Args:
      directory: the directory of the events; those after `start`, left by a killed run, are hidden.
      start: the step to resume from.
      config: the run's config as YAML.
    """

    def __init__(self, directory: pathlib.Path, *, start: int, config: str):
        self._file = EventFile()
        register_writer_factory(PREFIX, self._file)
        self._writer = SummaryWriter(f"{PREFIX}:{directory}", purge_step=start + 1 if start else None)
        self._writer.add_custom_scalars(LOSSES)  # the losses in one chart, below "Custom scalars"
        self._writer.add_text("config", _as_code(config), start)

    def check(self) -> None:
        """Raises OSError if the events could not be written."""
        if self._file.error is not None:
            raise_named(self._file.error, self._file.path)
            raise OSError(f"cannot write {self._file.path}: {self._file.error.strerror}") from self._file.error

    def add(self, step: int, scalars: Mapping[str, float | int | None]) -> None:
        """Adds the numbers of a row; None is left out. Raises OSError if earlier ones could not be written."""
        self.check()
        for name, value in scalars.items():
            if value is not None:
                self._writer.add_scalar(name if "/" in name else f"train/{name}", value, step)

    def add_examples(self, step: int, task: str, examples: Sequence[Example]) -> None:
        """Adds a table of predictions for held-out examples; the task's name is '' outside a mixture."""
        rows = [("inputs", "targets", "prediction"), ("---", "---", "---"), *(map(_cell, one) for one in examples)]
        self._writer.add_text(f"examples/{task}".rstrip("/"), "\n".join("|".join(["", *row, ""]) for row in rows), step)

    def close(self) -> None:
        """Closes the file."""
        self._writer.close()


class EventFile:
    """A file that tensorboardX opens and writes, and that keeps its first error.

    In the thread that writes, an error would be lost; the thread would end, and training would wait for it forever once
    its queue is full.
    """

    error: OSError | None = None

    def directory_check(self, path: str) -> None:
        """Makes a directory."""
        _without_prefix(path).mkdir(parents=True, exist_ok=True)

    def open(self, path: str) -> Self:
        """Opens the file."""
        self.path = _without_prefix(path)
        self._file = self.path.open("wb")
        return self

    def write(self, data: bytes) -> None:
        """Writes data, unless there has been an error."""
        if self.error is None:
            self._keep_error(lambda: self._file.write(data))

    def flush(self) -> None:
        """Writes what is buffered, unless there has been an error."""
        if self.error is None:
            self._keep_error(self._file.flush)

    def close(self) -> None:
        """Closes the file."""
        self._keep_error(self._file.close)

    def _keep_error(self, work: Callable[[], object]) -> None:
        try:
            work()
        except OSError as error:
            self.error = self.error or error


def _without_prefix(path: str) -> pathlib.Path:
    return pathlib.Path(path.removeprefix(f"{PREFIX}:"))


def _as_code(text: str) -> str:
    return "".join(f"    {line}\n" for line in text.splitlines())  # a code block in Markdown


def _cell(text: str) -> str:
    """Returns a text as a cell of a Markdown table, in which sentinels such as <extra_id_0> would be HTML."""
    short = text if len(text) <= MAX_CHARACTERS else text[:MAX_CHARACTERS] + " ..."
    return html.escape(short, quote=False).replace("|", "&#124;").replace("\n", "<br>") or " "
