# SPDX-License-Identifier: Apache-2.0
"""What is done with every request: measured, let in, and a body that is too large read away."""

import asyncio
import hmac
import time

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from t5x_lite.serving.refusals import Refused
from t5x_lite.serving.telemetry import Telemetry

ROUTES = ("/v1/completions", "/v1/embeddings", "/v1/models", "/health", "/metrics")
PROTECTED = "/v1/"  # what probes and Prometheus read is open
# A client that has not sent its whole body may not read the answer before it has: so much is read and forgotten.
MOST_BYTES_READ_AWAY, MOST_SECONDS = 64 * 2**20, 10.0


class TooLarge(Refused):
    """A body that is not read.

    Args:
      num_bytes: known so far.
      most: allowed.
    """

    def __init__(self, num_bytes: int, most: int):
        super().__init__(413, f"the body has {num_bytes} bytes or more, and this server reads {most}: send less")


class Measured:
    """Counts requests by route and status.

    Args:
      app: what is measured.
      telemetry: counts them.
    """

    def __init__(self, app: ASGIApp, telemetry: Telemetry):
        self._app, self._telemetry = app, telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on."""
        begin, status = time.monotonic(), 500

        async def see(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, see)
        finally:
            path = scope.get("path", "")
            route = next((route for route in ROUTES if path == route or path.startswith(f"{route}/")), "other")
            self._telemetry.request(route, status, time.monotonic() - begin)


class BearerToken:
    """Lets in those who have the key.

    Args:
      app: what is protected.
      key: None lets everyone in.
    """

    def __init__(self, app: ASGIApp, key: str | None):
        self._app, self._key = app, key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on, or refuses it."""
        if self._key is not None and scope["type"] == "http" and scope["path"].startswith(PROTECTED):
            kind, _, given = Headers(scope=scope).get("authorization", "").partition(" ")
            if kind.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), self._key.encode()):
                what = "is wrong" if given else "is missing"
                refused = Refused(401, f"the key {what}: send the header 'Authorization: Bearer KEY'")
                await refusal_response(refused)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def refusal_response(refused: Refused) -> Response:
    """Returns the response that says why a request is refused."""
    kind = ReadingAway if isinstance(refused, TooLarge) else JSONResponse
    return kind(refused.body, refused.status, headers=refused.headers)


class ReadingAway(JSONResponse):
    """Answers before the body is read, then reads it away, so that the client gets to read the answer."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends the response."""
        self.headers["Connection"] = "close"
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        num_bytes = 0
        try:
            async with asyncio.timeout(MOST_SECONDS):
                while num_bytes < MOST_BYTES_READ_AWAY:
                    message = await receive()
                    num_bytes += len(message.get("body", b""))
                    if message["type"] == "http.disconnect" or not message.get("more_body"):
                        break
        except TimeoutError:
            pass
        await send({"type": "http.response.body", "body": b"", "more_body": False})
