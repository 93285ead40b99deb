# SPDX-License-Identifier: Apache-2.0
"""ASGI middleware for metrics and authentication, and error responses."""

import asyncio
import contextlib
import hmac
import time

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from t5x_lite.serving.schema import RequestError
from t5x_lite.serving.telemetry import Telemetry

ROUTES = ("/v1/completions", "/v1/embeddings", "/v1/models", "/health", "/metrics")
PROTECTED = "/v1/"  # health checks and Prometheus need no key
# Many clients read the response only after sending the whole body, so oversized bodies are drained up to these limits.
MAX_DRAINED_BYTES, MAX_DRAIN_SECONDS = 64 * 2**20, 10.0


class BodyTooLarge(RequestError):
    """A request body of at least `num_bytes`, above the `limit`."""

    def __init__(self, num_bytes: int, limit: int):
        super().__init__(413, f"the body has at least {num_bytes} bytes, but the limit is {limit}: send less")


class RequestMetrics:
    """Counts and times requests by route and status."""

    def __init__(self, app: ASGIApp, telemetry: Telemetry):
        self._app, self._telemetry = app, telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begin, status = time.monotonic(), 500

        async def send_and_note_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, send_and_note_status)
        finally:
            path = scope.get("path", "")
            route = next((route for route in ROUTES if path == route or path.startswith(f"{route}/")), "other")
            self._telemetry.request(route, status, time.monotonic() - begin)


class BearerToken:
    """Rejects API requests without the key; None accepts all requests."""

    def __init__(self, app: ASGIApp, key: str | None):
        self._app, self._key = app, key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._key is not None and scope["type"] == "http" and scope["path"].startswith(PROTECTED):
            kind, _, given = Headers(scope=scope).get("authorization", "").partition(" ")
            if kind.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), self._key.encode()):
                problem = "is wrong" if given else "is missing"
                error = RequestError(401, f"the API key {problem}: send the header 'Authorization: Bearer KEY'")
                await error_response(error)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def error_response(error: RequestError) -> Response:
    """Returns the response that reports an error."""
    kind = DrainingResponse if isinstance(error, BodyTooLarge) else JSONResponse
    return kind(error.body, error.status, headers=error.headers)


class DrainingResponse(JSONResponse):
    """Responds before reading the request body, then drains the body so that the client reads the response."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.headers["Connection"] = "close"
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        num_bytes = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(MAX_DRAIN_SECONDS):
                while num_bytes < MAX_DRAINED_BYTES:
                    message = await receive()
                    num_bytes += len(message.get("body", b""))
                    if message["type"] == "http.disconnect" or not message.get("more_body"):
                        break
        await send({"type": "http.response.body", "body": b"", "more_body": False})
