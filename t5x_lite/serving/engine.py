# SPDX-License-Identifier: Apache-2.0
"""The job queue, and the worker thread that runs the model. Independent of HTTP."""

import collections
import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Literal

from t5x_lite.checkpoints.load import Pretrained
from t5x_lite.config.commands import ServeConfig
from t5x_lite.inference.engine import for_decoding
from t5x_lite.serving import compiler_resources
from t5x_lite.serving.batch import (
    Failed,
    Job,
    batch_sizes,
    compile_program,
    group_of,
    program_of,
    room_of,
    run_batch,
    warm_up,
)
from t5x_lite.serving.programs import MOST_PENDING, Compiler, Program, Programs

CANCEL_SECONDS = 5.0  # for the worker to notice that all its jobs are cancelled
MOST_NAMED = 8  # programs in a message

logger = logging.getLogger(__name__)

LOADING = "the model is loading: try again later"
CLOSING = "the server is shutting down: use another one"


class QueueFull(Exception):
    """The queue has no room for the jobs."""


class Compiling(QueueFull):
    """The jobs need a program that is not compiled, and too many others are being compiled."""


class NotServing(Exception):
    """The model is not loaded yet, or the engine is closing."""


class Engine:
    """Batches jobs dynamically: when the model becomes idle, the queued jobs form its next batch.

    `on_batch` is called on the worker thread with the number of jobs in each batch.
    """

    def __init__(self, options: ServeConfig, *, on_batch: Callable[[int], object] = lambda num_jobs: None):
        self.state: Literal["new", "loading", "ready", "closing", "failed"] = "new"
        self.error: Exception | None = None  # why loading the model failed
        self._options, self._on_batch = options, on_batch
        self._pretrained: Pretrained | None = None
        self._waiting: collections.deque[Job] = collections.deque()
        self._running: Sequence[Job] = ()
        self.programs = Programs(options.max_programs)
        self._compiler: Compiler | None = None
        self._changed = threading.Condition()
        self._worker = threading.Thread()  # replaced by `start`

    @property
    def pretrained(self) -> Pretrained:
        """The model; raises NotServing while it is loading."""
        if self._pretrained is None or self.state == "loading":
            raise NotServing(LOADING)
        return self._pretrained

    @property
    def num_waiting(self) -> int:
        """The number of jobs in the queue."""
        return len(self._waiting)

    def start(self, load: Callable[[], Pretrained], on_loaded: Callable[[], object] = lambda: None) -> None:
        """Loads and warms up the model on the worker thread, calls `on_loaded` when ready or failed, then serves."""
        self.state = "loading"
        self._worker = threading.Thread(target=self._work, args=(load, on_loaded), name="t5x-lite-engine", daemon=True)
        self._worker.start()

    def submit(self, jobs: Sequence[Job]) -> None:
        """Queues all of the jobs, or none; raises QueueFull, Compiling, or NotServing while loading or closing."""
        with self._changed:
            if self.state != "ready":
                raise NotServing(LOADING if self.state in ("new", "loading") else CLOSING)
            if len(self._waiting) + len(jobs) > self._options.max_queue:
                raise QueueFull(
                    f"{len(self._waiting)} prompts are waiting, and {len(jobs)} more would exceed max_queue "
                    f"{self._options.max_queue}: try again later"
                )
            for job in jobs:
                if not self._can_run(job):
                    raise Compiling(self._compiling_message())
            self._waiting.extend(jobs)
            self._changed.notify_all()

    def cancel(self, jobs: Sequence[Job]) -> None:
        """Drops jobs: queued ones immediately, running ones after a few tokens."""
        with self._changed:
            for job in jobs:
                job.cancelled = True
            if any(job.cancelled for job in self._waiting):
                self._waiting = collections.deque(job for job in self._waiting if not job.cancelled)
                self._changed.notify_all()

    def close(self, seconds: float) -> None:
        """Stops accepting jobs, finishes pending ones within `seconds`, and fails the rest.

        Does not wait for a model that is loading: it has no jobs, and only the end of the process stops it.
        """
        with self._changed:
            is_loading = self.state in ("new", "loading")
            if self.state != "failed":
                self.state = "closing"
            self._changed.notify_all()
        if is_loading or not self._worker.is_alive():
            return
        self._worker.join(seconds)
        if self._worker.is_alive():
            late = [*self._waiting, *self._running]
            for job in late:
                job.send(Failed("closed", "the server shut down before the request was finished: use another one"))
            self.cancel(late)
            self._worker.join(CANCEL_SECONDS)
        if self._compiler is not None:
            with self._changed:
                self._compiler.close()
            self._compiler.join(CANCEL_SECONDS)

    def _work(self, load: Callable[[], Pretrained], on_loaded: Callable[[], object]) -> None:
        options = self._options
        try:
            pretrained = for_decoding(load())
            if options.warm_up_tokens:
                warm_up(pretrained, self.programs, most_rows=options.batch_size, num_tokens=options.warm_up_tokens)
            compiler_resources.lower_priority()
            compiler_resources.return_memory()
        except Exception as error:
            self.error, self.state = error, "failed"
            on_loaded()
            return
        with self._changed:
            self._pretrained = pretrained
            self._compiler = Compiler(
                lambda program: compile_program(pretrained, program, self.programs), self._changed
            )
            if self.state == "loading":
                self.state = "ready"
        on_loaded()
        while batch := self._take():
            self._run(pretrained, *batch)

    def _take(self) -> tuple[list[Job], Program] | None:
        """Waits for jobs and returns the next batch with its program, or None when the engine closes."""
        max_rows = self._options.batch_size
        with self._changed:
            while True:
                self._changed.wait_for(lambda: self._waiting or self.state == "closing")
                if not self._waiting:
                    return None
                deadline = time.monotonic() + self._options.batch_wait_ms / 1000
                while self._num_waiting_rows() < max_rows and self.state == "ready" and time.monotonic() < deadline:
                    self._changed.wait(deadline - time.monotonic())
                if batch := self._next_batch():
                    self._waiting = collections.deque(job for job in self._waiting if job not in batch[0])
                    self._running = batch[0]
                    return batch
                if self._waiting:  # for programs that are not compiled yet
                    self._changed.wait()

    def _next_batch(self) -> tuple[list[Job], Program] | None:
        """Returns the first batch of waiting jobs for which there is a program, and has those it lacks compiled."""
        most_rows, groups = self._options.batch_size, collections.defaultdict(list)
        needed = [program_of([job], most_rows) for job in self._waiting]
        has_program = {program: self._program(program) is not None for program in needed}
        for job, program in zip(self._waiting, needed, strict=True):
            if has_program[program]:
                groups[group_of(job, most_rows)].append(job)
        for jobs in groups.values():
            room = room_of(jobs[0], most_rows)
            for size in reversed(batch_sizes(room)):
                chosen = jobs[:size]
                if program := self._program(program_of(chosen, most_rows)):
                    return chosen, program
        return None

    def _program(self, needed: Program) -> Program | None:
        """Returns a compiled program that covers another, if there is one, and has that one compiled if it is not."""
        found = self.programs.find(needed)
        assert self._compiler is not None
        if found != needed and not self._compiler.request(needed) and self._compiler.has_failed(needed):
            return needed
        return found

    def _can_run(self, job: Job) -> bool:
        """Returns whether there is a program for a job, or there will be soon."""
        needed = program_of([job], self._options.batch_size)
        assert self._compiler is not None
        is_known = self.programs.find(needed) is not None or self._compiler.has_failed(needed)
        return is_known or self._compiler.request(needed)

    def _compiling_message(self) -> str:
        """Returns what to do about a program that cannot be compiled now."""
        ready = [*dict.fromkeys(map(str, self.programs.ready()))][-MOST_NAMED:]
        return (
            f"these settings need a program that is not compiled, and {MOST_PENDING} others are being compiled: try "
            f"again later, or use {'; '.join(ready)}"
        )

    def _num_waiting_rows(self) -> int:
        return sum(job.num_rows for job in self._waiting)

    def _run(self, pretrained: Pretrained, jobs: list[Job], program: Program) -> None:
        self._on_batch(len(jobs))
        try:
            run_batch(pretrained, jobs, program, self.programs)
        except Exception as error:
            logger.exception("a batch of %d jobs failed", len(jobs))
            for job in jobs:
                job.send(Failed("error", f"the model failed ({type(error).__name__}): see the server's log"))
        self._running = ()
