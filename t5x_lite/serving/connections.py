# SPDX-License-Identifier: Apache-2.0
"""Limits on connections, which uvicorn lacks: their number, and the time for a request to arrive and be read.

uvicorn ends idle connections and limits the size of headers. It waits without end for the rest of a request, for a
client that does not read its response, and it runs out of files when too many connect.
"""

import os
import resource
import time
from collections.abc import Iterable
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

BUSY = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
SPARE_FILES = 24  # of the process's limit, for connections that are about to be closed and for checkpoints
LARGEST_DRAIN = 2**20  # bytes read of a request body after the response


class Connection(H11Protocol):
    """A client's connection. When there are too many, the least useful one is closed for a new one.

    Instances are made by uvicorn; `limits` makes a class of connections that share their limits.
    """

    most = 0  # connections at once
    seconds = 0.0  # for a request to arrive, and for a client to read

    def __init__(self, *args: Any, **more: Any):
        super().__init__(*args, **more)
        self._since = time.monotonic()  # of the present phase
        self._stuck_since: float | None = None  # the client does not read
        self._num_answered = self._num_drained = 0

    @classmethod
    def limits(cls, *, most: int, seconds: float) -> type["Connection"]:
        """Returns a class of connections with these limits."""
        return type("LimitedConnection", (cls,), {"most": most, "seconds": seconds})

    def connection_made(self, transport: Any) -> None:  # type: ignore[override]
        """Makes room for the connection, or closes it if all others have running requests."""
        super().connection_made(transport)
        if len(self.connections) <= self.most:
            return
        others: Iterable[Any] = [other for other in self.connections if other is not self]
        idle = [other for other in others if not other.has_request and not other.transport.is_closing()]
        # Clients that were answered before are the last to go, and among equals the oldest is the first.
        chosen = min(idle, key=lambda other: (other._num_answered > 0, other._since), default=None)
        if chosen is None:
            transport.write(BUSY)
            transport.close()
        else:
            self.connections.discard(chosen)
            chosen.transport.abort()

    @property
    def has_request(self) -> bool:
        """Whether a whole request has arrived that is not yet answered."""
        is_answered = self.cycle is None or self.cycle.response_complete
        return not is_answered and self.conn.their_state not in (h11.IDLE, h11.SEND_BODY)

    def data_received(self, data: bytes) -> None:
        """Reads a part of a request; ends the connection if its body goes on long after the response."""
        before = self.conn.their_state
        if self.cycle is not None and self.cycle.response_complete and before is h11.SEND_BODY:
            self._num_drained += len(data)
            if self._num_drained > LARGEST_DRAIN:
                self.transport.abort()
                return
        super().data_received(data)
        if before is h11.IDLE and self.conn.their_state is not h11.IDLE:
            self._since, self._num_drained = time.monotonic(), 0  # the headers are there

    def on_response_complete(self) -> None:
        """Starts the time for the next request."""
        self._num_answered += 1
        if self.conn.their_state is not h11.SEND_BODY:
            self._since = time.monotonic()
        super().on_response_complete()

    def pause_writing(self) -> None:
        """Starts the time for the client to read."""
        self._stuck_since = time.monotonic()
        super().pause_writing()

    def resume_writing(self) -> None:
        """Ends the time for the client to read."""
        self._stuck_since = None
        super().resume_writing()

    def end_if_late(self, now: float) -> None:
        """Closes the connection if its client has let a time limit pass."""
        if self._stuck_since is None and self.transport.is_closing():
            self._stuck_since = now  # what is left to send must be read in time too
        if self._stuck_since is not None and now > self._stuck_since + self.seconds:
            self.transport.abort()
        elif self.cycle is not None and not self.cycle.response_complete:
            return  # the application has its own limits: 408 for a late body, 504 for a late answer
        elif now > self._since + self.seconds:
            self.transport.close()


def end_late(connections: Iterable[Any]) -> None:
    """Closes the connections whose clients have let a time limit pass."""
    now = time.monotonic()
    for connection in list(connections):
        connection.end_if_late(now)


def most_connections(asked: int) -> int:
    """Returns the number of connections that the process's limit of open files has room for, at most `asked`."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return asked
    return max(1, min(asked, soft - len(os.listdir("/dev/fd")) - SPARE_FILES))
