# SPDX-License-Identifier: Apache-2.0
"""Delivers the events of a request's jobs to the event loop until they end, time out or the client disconnects."""

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator

from starlette.types import Receive

from t5x_lite.serving.batch import Event, Failed, Job, Progress
from t5x_lite.serving.engine import Engine, NotServing, QueueFull
from t5x_lite.serving.schema import RequestError


class ClientDisconnected(Exception):
    """The client closed the connection."""


class Subscription:
    """The events of one request's jobs, with a time limit of `seconds`. Must be closed.

    The request's body must have been read, so that `receive` only reports a disconnect.
    """

    def __init__(self, engine: Engine, receive: Receive, *, seconds: float):
        self._engine, self._seconds = engine, seconds
        self._loop = asyncio.get_running_loop()
        self._deadline = self._loop.time() + seconds
        self._events: asyncio.Queue[tuple[int, Event] | None] = asyncio.Queue()
        self._jobs: list[Job] = []
        self._watch = asyncio.create_task(self._watch_client(receive))

    def submit(self, jobs: list[Job]) -> None:
        """Queues the jobs; raises RequestError if the queue is full or the server is not serving."""
        for number, job in enumerate(jobs):
            job.notify = functools.partial(self._notify, number)
        try:
            self._engine.submit(jobs)
        except (QueueFull, NotServing) as error:
            raise RequestError(429 if isinstance(error, QueueFull) else 503, str(error)) from error
        self._jobs = jobs

    async def events(self) -> AsyncIterator[tuple[int, Event]]:
        """Yields events with the number of their job, until all jobs are finished.

        Raises RequestError if time runs out or a job fails, ClientDisconnected if the client disconnects.
        """
        unfinished = set(range(len(self._jobs)))
        while unfinished:
            try:
                async with asyncio.timeout_at(self._deadline):
                    item = await self._events.get()
            except TimeoutError as error:
                message = f"the request took longer than {self._seconds:g} seconds: ask for fewer tokens, or retry"
                raise RequestError(504, message) from error
            if item is None:
                raise ClientDisconnected
            number, event = item
            if isinstance(event, Failed):
                raise RequestError(500 if event.reason == "error" else 503, event.message)
            if number not in unfinished:
                continue
            if not isinstance(event, Progress) or event.is_last:
                unfinished.discard(number)
            yield number, event
            if self._jobs[number].cancelled:
                unfinished.discard(number)

    def cancel(self, number: int) -> None:
        """Cancels one job."""
        self._engine.cancel([self._jobs[number]])

    async def close(self) -> None:
        """Cancels all unfinished jobs; may be called twice."""
        self._engine.cancel(self._jobs)
        self._watch.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._watch

    def _notify(self, number: int, event: Event) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._events.put_nowait, (number, event))

    async def _watch_client(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._events.put_nowait(None)
