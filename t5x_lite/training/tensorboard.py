# SPDX-License-Identifier: Apache-2.0
"""A run's TensorBoard events: its numbers, a chart of its losses, its config, and examples of its evaluations."""

import html
import pathlib
from collections.abc import Mapping, Sequence

from tensorboardX import SummaryWriter

Example = tuple[str, str, str]  # inputs, targets and prediction
MAX_CHARACTERS = 1_000  # of each text
LOSSES = {"loss": {"training and held-out": ["Multiline", [r"train/loss", r"eval/(.+/)?loss"]]}}


class Events:
    """Writes TensorBoard events.

    Args:
      directory: the directory of the events; those after `start`, left by a killed run, are hidden.
      start: the step to resume from.
      config: the run's config as YAML.
    """

    def __init__(self, directory: pathlib.Path, *, start: int, config: str):
        self._writer = SummaryWriter(str(directory), purge_step=start + 1 if start else None)
        self._writer.add_custom_scalars(LOSSES)  # the losses in one chart, below "Custom scalars"
        self._writer.add_text("config", _as_code(config), start)

    def add(self, step: int, scalars: Mapping[str, float | int | None]) -> None:
        """Adds the numbers of a row; None is left out."""
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


def _as_code(text: str) -> str:
    return "".join(f"    {line}\n" for line in text.splitlines())  # a code block in Markdown


def _cell(text: str) -> str:
    """Returns a text as a cell of a Markdown table, in which sentinels such as <extra_id_0> would be HTML."""
    short = text if len(text) <= MAX_CHARACTERS else text[:MAX_CHARACTERS] + " ..."
    return html.escape(short, quote=False).replace("|", "&#124;").replace("\n", "<br>") or " "
