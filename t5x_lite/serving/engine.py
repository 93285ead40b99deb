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
from t5x_lite.serving.batch import Failed, Job, group_of, run_batch, warm_up

CANCEL_SECONDS = 5.0  # for the worker to notice that all its jobs are cancelled

logger = logging.getLogger(__name__)

LOADING = "the model is loading: try again later"
CLOSING = "the server is shutting down: use another one"


class QueueFull(Exception):
    """The queue has no room for the jobs."""


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
        """Queues all of the jobs, or none; raises QueueFull, or NotServing while loading or closing."""
        with self._changed:
            if self.state != "ready":
                raise NotServing(LOADING if self.state in ("new", "loading") else CLOSING)
            if len(self._waiting) + len(jobs) > self._options.max_queue:
                raise QueueFull(
                    f"{len(self._waiting)} prompts are waiting, and {len(jobs)} more would exceed max_queue "
                    f"{self._options.max_queue}: try again later"
                )
            self._waiting.extend(jobs)
            self._changed.notify_all()

    def cancel(self, jobs: Sequence[Job]) -> None:
        """Drops jobs: queued ones immediately, running ones after a few tokens."""
        with self._changed:
            for job in jobs:
                job.cancelled = True
            if any(job.cancelled for job in self._waiting):
                self._waiting = collections.deque(job for job in self._waiting if not job.cancelled)

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

    def _work(self, load: Callable[[], Pretrained], on_loaded: Callable[[], object]) -> None:
        options = self._options
        try:
            pretrained = for_decoding(load())
            if options.warm_up_tokens:
                warm_up(pretrained, most_rows=options.batch_size, num_tokens=options.warm_up_tokens)
        except Exception as error:
            self.error, self.state = error, "failed"
            on_loaded()
            return
        with self._changed:
            self._pretrained = pretrained
            if self.state == "loading":
                self.state = "ready"
        on_loaded()
        while jobs := self._take():
            self._run(pretrained, jobs)

    def _take(self) -> list[Job]:
        """Waits for jobs and returns the next batch, or an empty list when the engine closes."""
        max_rows = self._options.batch_size
        with self._changed:
            while True:
                self._changed.wait_for(lambda: self._waiting or self.state == "closing")
                if not self._waiting:
                    return []
                deadline = time.monotonic() + self._options.batch_wait_ms / 1000
                while self._num_waiting_rows() < max_rows and self.state == "ready" and time.monotonic() < deadline:
                    self._changed.wait(deadline - time.monotonic())
                if self._waiting:  # unless all were cancelled meanwhile
                    break
            first = self._waiting[0]
            group, room = group_of(first), max(1, max_rows // first.num_rows)
            chosen = [job for job in self._waiting if group_of(job) == group][:room]
            self._waiting = collections.deque(job for job in self._waiting if job not in chosen)
            self._running = chosen
            return chosen

    def _num_waiting_rows(self) -> int:
        return sum(job.num_rows for job in self._waiting)

    def _run(self, pretrained: Pretrained, jobs: list[Job]) -> None:
        self._on_batch(len(jobs))
        try:
            run_batch(pretrained, jobs, most_rows=self._options.batch_size)
        except Exception as error:
            logger.exception("a batch of %d jobs failed", len(jobs))
            for job in jobs:
                job.send(Failed("error", f"the model failed ({type(error).__name__}): see the server's log"))
        self._running = ()
