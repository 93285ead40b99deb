# SPDX-License-Identifier: Apache-2.0
"""One thread that owns the model, and the queue before it; knows nothing of HTTP."""

import collections
import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Literal

from t5x_lite.checkpoints.load import Pretrained
from t5x_lite.config import ServeConfig
from t5x_lite.inference.engine import laid_out
from t5x_lite.serving.batch import Failed, Job, group_of, run_batch, warm_up

SECONDS_TO_NOTICE = 5.0  # that the worker gets to find out that all its jobs are given up

logger = logging.getLogger(__name__)


class QueueFull(Exception):
    """There is no room for so many jobs."""


class NotServing(Exception):
    """The model is not loaded yet, or the engine is closing."""


class Engine:
    """Decodes for many at once: what waits when the model is free becomes one batch.

    Args:
      options: batch_size, max_queue, batch_wait_ms and warm_up_tokens of it.
      on_batch: called with the number of jobs of each batch, on the worker's thread.
    """

    def __init__(self, options: ServeConfig, *, on_batch: Callable[[int], object] = lambda num_jobs: None):
        self.state: Literal["new", "loading", "ready", "closing", "failed"] = "new"
        self.error: Exception | None = None  # why loading failed
        self._options = options
        self._on_batch = on_batch
        self._pretrained: Pretrained | None = None
        self._waiting: collections.deque[Job] = collections.deque()
        self._running: Sequence[Job] = ()
        self._changed = threading.Condition()
        self._worker = threading.Thread(target=self._work, name="t5x-lite-engine", daemon=True)
        self._load: Callable[[], Pretrained] | None = None
        self._on_loaded: Callable[[], object] = lambda: None

    @property
    def pretrained(self) -> Pretrained:
        """The model.

        Raises:
          NotServing: while it is being loaded.
        """
        if self._pretrained is None or self.state == "loading":
            raise NotServing("the model is being loaded: try again in a while")
        return self._pretrained

    @property
    def num_waiting(self) -> int:
        """Jobs in the queue."""
        return len(self._waiting)

    def start(self, load: Callable[[], Pretrained], on_loaded: Callable[[], object] = lambda: None) -> None:
        """Loads and warms up on the worker's thread, then serves.

        Args:
          load: returns the model.
          on_loaded: called once when `state` is ready, or failed with `error`; on the worker's thread.
        """
        self.state, self._load, self._on_loaded = "loading", load, on_loaded
        self._worker.start()

    def submit(self, jobs: Sequence[Job]) -> None:
        """Queues all of some jobs, or none; their `notify` hears the rest.

        Raises:
          QueueFull: if there is no room.
          NotServing: while the model is loaded, or when the engine closes.
        """
        with self._changed:
            if self.state != "ready":
                raise NotServing(
                    "the model is being loaded: try again in a while"
                    if self.state in ("new", "loading")
                    else "the server is shutting down: ask another one"
                )
            if len(self._waiting) + len(jobs) > self._options.max_queue:
                raise QueueFull(
                    f"{len(self._waiting)} texts wait already, and {len(jobs)} more would be above max_queue "
                    f"{self._options.max_queue}: try again in a while"
                )
            self._waiting.extend(jobs)
            self._changed.notify_all()

    def give_up(self, jobs: Sequence[Job]) -> None:
        """Forgets jobs that nobody waits for: from the queue at once, from a batch after a few tokens."""
        with self._changed:
            for job in jobs:
                job.given_up = True
            if any(job.given_up for job in self._waiting):
                self._waiting = collections.deque(job for job in self._waiting if not job.given_up)

    def close(self, seconds: float) -> None:
        """Takes no more jobs, finishes those it has within some seconds, and fails the others."""
        with self._changed:
            if self.state != "failed":
                self.state = "closing"
            self._changed.notify_all()
        if not self._worker.is_alive():
            return
        self._worker.join(seconds)
        if self._worker.is_alive():
            late = [*self._waiting, *self._running]
            self._fail(late, Failed("closed", "the server shut down before this was answered: ask another one"))
            self.give_up(late)
            self._worker.join(SECONDS_TO_NOTICE)

    def _work(self) -> None:
        assert self._load is not None
        options = self._options
        try:
            pretrained = laid_out(self._load())
            decodes = pretrained.architecture.traits.decodes
            if options.warm_up_tokens:
                warm_up(pretrained, most_rows=options.batch_size, num_tokens=options.warm_up_tokens, decodes=decodes)
        except Exception as error:
            self.error, self.state = error, "failed"
            self._on_loaded()
            return
        with self._changed:
            self._pretrained = pretrained
            if self.state == "loading":
                self.state = "ready"
        self._on_loaded()
        while jobs := self._take():
            self._do(pretrained, jobs)

    def _take(self) -> list[Job]:
        """Waits for jobs; returns those of the next batch, or none when the engine closes."""
        most = self._options.batch_size
        with self._changed:
            while True:
                self._changed.wait_for(lambda: self._waiting or self.state == "closing")
                if not self._waiting:
                    return []
                deadline = time.monotonic() + self._options.batch_wait_ms / 1000
                while len(self._waiting) < most and self.state == "ready" and time.monotonic() < deadline:
                    self._changed.wait(deadline - time.monotonic())
                if self._waiting:  # still, nobody gave up
                    break
            first = self._waiting[0]
            group, room = group_of(first), max(1, most // first.num_rows)
            chosen = [job for job in self._waiting if group_of(job) == group][:room]
            taken = set(map(id, chosen))
            self._waiting = collections.deque(job for job in self._waiting if id(job) not in taken)
            self._running = chosen
            return chosen

    def _do(self, pretrained: Pretrained, jobs: list[Job]) -> None:
        self._on_batch(len(jobs))
        try:
            run_batch(pretrained, jobs, most_rows=self._options.batch_size)
        except Exception as error:
            logger.exception("a batch of %d failed", len(jobs))
            self._fail(jobs, Failed("error", f"the model failed ({type(error).__name__}): see the server's log"))
        self._running = ()

    def _fail(self, jobs: Sequence[Job], failure: Failed) -> None:
        for job in jobs:
            if not job.given_up:
                job.notify(failure)
