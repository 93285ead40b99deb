# SPDX-License-Identifier: Apache-2.0
"""Logging to the terminal, `metrics.jsonl` and TensorBoard; the metrics of each step are read one step late."""

import time
from collections.abc import Collection, Mapping, Sequence
from typing import Self

import jax
import numpy as np

from t5x_lite.checkpoints.orbax import Checkpoints
from t5x_lite.config import RunConfig
from t5x_lite.evaluation.results import PREFIX, as_json
from t5x_lite.evaluation.words import describe, duration
from t5x_lite.files.metrics_file import LOSSES, RowWriter, keep_rows, losses_of, read_rows
from t5x_lite.files.progress import ProgressBar
from t5x_lite.optim import make_schedule
from t5x_lite.training.program import Program
from t5x_lite.training.run_dir import RunDirectory
from t5x_lite.training.tensorboard import Events, Example


class RunLogger:
    """Writes rows of metrics to `metrics.jsonl` and TensorBoard, and shows progress.

    A terminal gets a progress bar; a log file gets a line per row.

    Args:
      directory: the run directory; its rows after `start`, left by a killed run, are dropped.
      start: the step to resume from.
      num_steps: the total number of steps.
      enabled: False in all processes but one; they write and print nothing.
      not_shown: the names of metrics that are recorded, but not shown.
    """

    def __init__(
        self,
        directory: RunDirectory,
        *,
        start: int,
        num_steps: int,
        enabled: bool = True,
        not_shown: Collection[str] = (),
    ):
        self._num_steps, self._not_shown = num_steps, not_shown
        self._bar = ProgressBar("Training", num_steps, completed=start, text="compiling", enabled=enabled)
        self._clock = Clock(num_steps)
        self._examples: dict[str, Sequence[Example]] = {}
        self._file = None
        self.losses: dict[tuple[int, str], float] = {}  # by step and name, in the order they were logged
        for row in read_rows(directory.metrics):
            if row["step"] <= start:
                self.losses |= losses_of(row["step"], row)
        if enabled:
            keep_rows(directory.metrics, start)
            self._file = RowWriter(directory.metrics)
            config = directory.config.read_text() if directory.config.is_file() else ""
            self._events = Events(directory.tensorboard, start=start, config=config)

    def __enter__(self) -> Self:
        self._bar.__enter__()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._bar.__exit__()
        if self._file is not None:
            self._events.close()  # raises nothing, unlike the other file on a full disk
            self._file.close()
            if kind is None:
                self._events.check()

    def advance(self, step: int) -> None:
        """Moves the progress bar."""
        self._bar.update(completed=step)
        self._clock.advance(step)

    def keep_examples(self, task: str, examples: Sequence[Example]) -> None:
        """Keeps examples of the evaluation in progress, for the next row."""
        self._examples[task] = examples

    def write(
        self, step: int, scalars: Mapping[str, float | int | None], *, learning_rate: float | None = None
    ) -> None:
        """Records a row of metrics, and shows it with the learning rate; None is an unknown value, null in the row."""
        self.losses |= losses_of(step, scalars)
        shown = {name: value for name, value in scalars.items() if name not in self._not_shown}
        first, line_break, others = describe({**shown, "learning_rate": learning_rate}).partition("\n")
        is_evaluation = any(name.startswith(PREFIX) for name in scalars)
        if not is_evaluation:  # whose numbers are too many for the bar
            self._bar.update(text=first)
        if not self._bar.visible or is_evaluation:
            self.print(f"step {step}/{self._num_steps}  {first}  {self._clock.describe(step)}{line_break}{others}")
        if self._file is None:
            return
        self._file.write({"step": step} | {name: as_json(value) for name, value in scalars.items()})
        self._events.add(step, scalars)
        for task, examples in self._examples.items():
            self._events.add_examples(step, task, examples)
        self._examples = {}

    def has_evaluation(self, step: int) -> bool:
        """Returns whether the evaluation after a step is logged, in process 0."""
        from t5x_lite.parallel.joining import broadcast

        return broadcast((step, LOSSES[1]) in self.losses)

    def newest_sane(self, steps: Sequence[int]) -> int | None:
        """Returns the newest of the steps after which the model had a sane loss; None if there is none."""
        from t5x_lite.training.health import newest_sane

        return newest_sane(steps, self.losses)

    def print(self, text: str) -> None:
        """Prints a line above the progress bar."""
        self._bar.print(text)


class StepLogger:
    """Logs the metrics of each step one step late, so that the device is never idle.

    Args:
      logger: where rows of metrics go.
      program: the run's program.
      cfg: the run's config.
      lengths: the numbers of encoder and decoder tokens per example, for the speed.
      checkpoints: those to go on from if the run diverges.
    """

    is_skipping = False  # whether the update of the last step flushed was skipped

    def __init__(
        self,
        logger: RunLogger,
        program: Program,
        cfg: RunConfig,
        lengths: tuple[int, int],
        checkpoints: Checkpoints,
    ):
        self._logger, self._program, self._cfg, self._train = logger, program, cfg, cfg.train
        self._learning_rate = make_schedule(cfg.optimizer, cfg.train.num_steps)
        self._lengths, self._checkpoints = lengths, checkpoints
        self._stopwatch = Stopwatch()
        self._num_timed = 0
        self._pending: tuple[int, dict[str, jax.Array]] | None = None

    def add(self, step: int, metrics: dict[str, jax.Array]) -> None:
        """Takes the metrics of the step just launched, and logs those of the previous step."""
        self.flush()
        self._pending = step, metrics

    def restart_clock(self) -> None:
        """Excludes the time since the last row, such as an evaluation, from the next row's speed."""
        self._stopwatch.lap()
        self._num_timed = 0

    def flush(self) -> None:
        """Waits for the last step and logs its metrics; raises FloatingPointError if the run has diverged."""
        if self._pending is None:
            return
        step, metrics = self._pending[0], jax.device_get(self._pending[1])
        self._pending = None
        self._num_timed += 1
        self._logger.advance(step)
        cfg = self._train
        in_a_row = int(metrics.pop("nonfinite_in_a_row"))
        self.is_skipping = in_a_row > 0
        is_over = in_a_row >= cfg.max_nonfinite_steps or (self.is_skipping and step == cfg.num_steps)
        if step % cfg.log_every_steps == 0 or step == cfg.num_steps or is_over:
            scalars = {name: float(value) for name, value in metrics.items()} | self._speed()
            counts = {name: int(metrics[name]) for name in ("nonfinite_steps", "spike_steps") if name in metrics}
            rate = self._rate_of(step)
            self._logger.write(step, scalars | counts | {"learning_rate": rate}, learning_rate=rate)
        elif (step - 1) % self._cfg.checkpoint.every_steps == 0:  # the first that judges a checkpoint
            self._logger.losses |= losses_of(step, metrics)
        if is_over:
            from t5x_lite.training.health import divergence

            raise divergence(self._cfg, self._checkpoints, self._logger.losses, step, in_a_row)

    def write_evaluation(self, step: int, results: Mapping[str, float]) -> None:
        """Logs the results of an evaluation after a step; its time is not that of the next steps."""
        self._logger.write(step, results, learning_rate=self._rate_of(step))
        self.restart_clock()

    def _rate_of(self, step: int) -> float:
        return float(np.asarray(self._learning_rate(step - 1)))  # schedules count from 0

    def _speed(self) -> dict[str, float | None]:
        program, batch_size = self._program, self._train.batch_size
        seconds_per_step = self._stopwatch.lap() / max(self._num_timed, 1)
        self._num_timed, mfu = 0, None
        if (device := program.mesh.devices.flat[0]).platform != "cpu":
            from t5x_lite.perf.flops import peak_flops, train_flops

            flops = batch_size * train_flops(program.model, *self._lengths, program.architecture)
            peak = peak_flops(device.device_kind)  # None for unknown devices
            mfu = peak and flops / seconds_per_step / (peak * program.mesh.size)
        return {
            "seconds_per_step": seconds_per_step,
            "tokens_per_second": batch_size * sum(self._lengths) / seconds_per_step,
            "mfu": mfu,
        }


class Clock:
    """Estimates the remaining time of a run from the steps since the first one, which includes compilation."""

    def __init__(self, num_steps: int):
        self._num_steps = num_steps
        self._began = time.monotonic()
        self._first: tuple[int, float] | None = None

    def advance(self, step: int) -> None:
        """Takes the number of a step that is done."""
        self._first = self._first or (step, time.monotonic())

    def describe(self, step: int) -> str:
        """Returns the time that this process has run, and the time left if it can be told."""
        now, left = time.monotonic(), ""
        if self._first is not None and step > self._first[0]:
            seconds_per_step = (now - self._first[1]) / (step - self._first[0])
            left = f", {duration((self._num_steps - step) * seconds_per_step)} left"
        return f"{duration(now - self._began)} elapsed{left}"


class Stopwatch:
    """Measures the time between laps."""

    def __init__(self):
        self._start = time.perf_counter()

    def lap(self) -> float:
        """Returns the seconds since the last lap, or since construction."""
        now = time.perf_counter()
        seconds, self._start = now - self._start, now
        return seconds
