# SPDX-License-Identifier: Apache-2.0
"""What one request hears of its jobs, on the event loop; a client that leaves and a time that runs out end it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any

from t5x_lite.serving.batch import Event, Failed, Job, Progress
from t5x_lite.serving.engine import Engine, NotServing, QueueFull
from t5x_lite.serving.refusals import Refused

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


class ClientLeft(Exception):
    """Nobody reads the answer."""


class Listening:
    """Events of the jobs of one request; `close` it, whatever happens.

    Args:
      engine: that does them.
      receive: of ASGI, after the body has been read: then it tells of the client alone.
      seconds: after which the request is given up.
    """

    def __init__(self, engine: Engine, receive: Receive, *, seconds: float):
        self._engine, self._seconds = engine, seconds
        self._loop = asyncio.get_running_loop()
        self._deadline = self._loop.time() + seconds
        self._events: asyncio.Queue[tuple[int, Event] | None] = asyncio.Queue()
        self._jobs: list[Job] = []
        self._watch = asyncio.create_task(self._watch_client(receive))

    def submit(self, jobs: list[Job]) -> None:
        """Queues the jobs; what they are told is heard here.

        Raises:
          Refused: if there is no room, or the server is not ready or not any more.
        """
        for number, job in enumerate(jobs):
            job.notify = self._teller(number)
        try:
            self._engine.submit(jobs)
        except QueueFull as error:
            raise Refused(429, str(error)) from error
        except NotServing as error:
            raise Refused(503, str(error)) from error
        self._jobs = jobs

    async def events(self) -> AsyncIterator[tuple[int, Event]]:
        """Yields the number of a job with an event, until each has had its last.

        Raises:
          Refused: if the time runs out, or a job fails.
          ClientLeft: if the client does.
        """
        going_on = set(range(len(self._jobs)))
        while going_on:
            try:
                async with asyncio.timeout_at(self._deadline):
                    heard = await self._events.get()
            except TimeoutError as error:
                raise Refused(
                    504, f"there was no answer within {self._seconds:g} seconds: ask for fewer tokens, or later"
                ) from error
            if heard is None:
                raise ClientLeft
            number, event = heard
            if isinstance(event, Failed):
                raise Refused(503 if event.reason == "closed" else 500, event.message)
            if number not in going_on:
                continue
            if not isinstance(event, Progress) or event.is_last:
                going_on.discard(number)
            yield number, event
            if self._jobs[number].given_up:
                going_on.discard(number)

    def give_up(self, number: int) -> None:
        """Asks for nothing more of a job."""
        self._engine.give_up([self._jobs[number]])

    async def close(self) -> None:
        """Gives up what is left; a second time does nothing."""
        self._engine.give_up(self._jobs)
        self._watch.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._watch

    def _teller(self, number: int) -> Callable[[Event], None]:
        def tell(event: Event) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._events.put_nowait, (number, event))

        return tell

    async def _watch_client(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._events.put_nowait(None)
