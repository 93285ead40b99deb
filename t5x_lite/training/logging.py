# SPDX-License-Identifier: Apache-2.0
"""What a run says while it goes: the terminal, JSON lines, TensorBoard."""

import json
import pathlib
import time
from collections.abc import Mapping
from typing import Self

from tensorboardX import SummaryWriter

from t5x_lite.evaluation.results import as_json, tasks_measured
from t5x_lite.files.atomic_write import write_atomically
from t5x_lite.files.progress import ProgressBar


class Report:
    """Writes each row of numbers to `metrics.jsonl` and TensorBoard, and tells a person how the run is going.

    On a terminal a progress bar moves; elsewhere, as in a log file, a line is printed for each row.

    Args:
      metrics: path of the JSON lines; rows after `step`, of a run cut off after its last checkpoint, are dropped,
        so that no step is told twice.
      tensorboard: directory of the event files.
      step: that the run goes on from.
      num_steps: of the whole run.
      enabled: False on all processes but one, which then write and print nothing.
    """

    def __init__(
        self, metrics: pathlib.Path, tensorboard: pathlib.Path, *, step: int, num_steps: int, enabled: bool = True
    ):
        self._num_steps = num_steps
        self._bar = ProgressBar("Training", num_steps, completed=step, text="compiling", enabled=enabled)
        self._file = None
        self._writer = None
        if enabled:
            keep_rows(metrics, step)
            self._file = metrics.open("a")
            self._writer = SummaryWriter(str(tensorboard), purge_step=step + 1 if step else None)

    def __enter__(self) -> Self:
        self._bar.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.__exit__()
        if self._file is not None and self._writer is not None:
            self._file.close()
            self._writer.close()

    def advance(self, step: int) -> None:
        """Moves the progress bar."""
        self._bar.update(completed=step)

    def write(self, step: int, scalars: Mapping[str, float | int | None]) -> None:
        """Records a row; None stands for a number that is not known here, and is written as null."""
        shown = describe(scalars)
        self._bar.update(text=shown.partition("\n")[0])
        if not self._bar.visible or any(name.startswith("eval/") for name in scalars):
            self.say(f"step {step}/{self._num_steps}  {shown}")
        if self._file is None or self._writer is None:
            return
        self._file.write(json.dumps({"step": step} | {name: as_json(value) for name, value in scalars.items()}) + "\n")
        self._file.flush()
        for name, value in scalars.items():
            if value is not None:
                self._writer.add_scalar(name if "/" in name else f"train/{name}", value, step)

    def say(self, text: str) -> None:
        """Prints a line above the progress bar."""
        self._bar.print(text)


def describe(scalars: Mapping[str, float | int | None]) -> str:
    """Returns the numbers a person looks for first, with their units; the tasks of a mixture on lines of their own."""
    texts = {
        "loss": "loss {:.3f}",
        "tokens_per_second": "{:,.0f} tokens/s",
        "mfu": "MFU {:.1%}",
        "nonfinite_steps": "{:d} non-finite",
    }
    known = [text.format(scalars[name]) for name, text in texts.items() if scalars.get(name)]
    tasks = {name: _measured(numbers) for name, numbers in tasks_measured(scalars).items()}
    first = "  ".join([*known, *([f"held-out {tasks['']}"] if tasks[""] else [])])
    width = max(map(len, tasks))
    return "\n".join([first, *(f"    {name:{width}}  {text}" for name, text in tasks.items() if name)])


def _measured(numbers: Mapping[str, float]) -> str:
    """What is told of one task: losses are nats, and metrics mostly of 100."""
    texts = {"loss": "loss {:.3f}", "loss_text": "on text {:.3f}", "unigram_text": "(unigram entropy {:.3f})"}
    known = [text.format(numbers[name]) for name, text in texts.items() if name in numbers]
    return "  ".join([*known, *(f"{name} {value:.2f}" for name, value in numbers.items() if name not in texts)])


def read_rows(path: pathlib.Path) -> list[dict]:
    """Returns the rows of a metrics file; a line cut off by the end of a process is left out."""
    rows = []
    if path.exists():
        for line in path.read_text().splitlines():
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError:
                continue
    return rows


def keep_rows(path: pathlib.Path, step: int) -> None:
    """Drops the rows after `step`."""
    rows = read_rows(path)
    write_atomically(path, "".join(json.dumps(row) + "\n" for row in rows if row["step"] <= step))


class Stopwatch:
    """Seconds since it was made or last read."""

    def __init__(self):
        self._start = time.perf_counter()

    def lap(self) -> float:
        """Returns the seconds since the last reading, and starts again."""
        now = time.perf_counter()
        seconds, self._start = now - self._start, now
        return seconds
