# SPDX-License-Identifier: Apache-2.0
"""ASGI middleware that gives each request an id, counts, times and logs it.

The log holds no text, key, path or query of a client, which may be secret, only names that the server knows.
"""

import contextlib
import datetime
import re
import secrets
import sys
import time
from collections.abc import Callable

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from t5x_lite.serving.telemetry import Telemetry

ROUTES = ("/v1/completions", "/v1/chat/completions", "/v1/embeddings", "/v1/models", "/health", "/metrics")
POLLED = ("/health", "/metrics")  # every few seconds, so that they are logged only if they fail
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH")
ID_HEADER = "X-Request-Id"
ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class RequestLog:
    """Counts, times and logs requests by route and status, and tells clients the id of their request.

    A client may choose the id, to find its request in this log. `write` is given each line; None logs nothing.
    """

    def __init__(self, app: ASGIApp, telemetry: Telemetry, write: Callable[[str], object] | None):
        self._app, self._telemetry, self._write = app, telemetry, write

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begin, status = time.monotonic(), 500
        given = Headers(scope=scope).get(ID_HEADER, "")
        request_id = given if ID.fullmatch(given) else f"req-{secrets.token_hex(8)}"

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[ID_HEADER] = request_id
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        finally:
            path, seconds = scope.get("path", ""), time.monotonic() - begin
            route = next((route for route in ROUTES if path == route or path.startswith(f"{route}/")), "other")
            self._telemetry.request(route, status, seconds)
            if self._write is not None and (route not in POLLED or status >= 400):
                method = scope["method"] if scope.get("method") in METHODS else "other"
                client = (scope.get("client") or ["unknown"])[0]
                self._write(f"id={request_id} client={client} {method} {route} {status} {seconds:.3f}s")


def write_to_stderr(line: str) -> None:
    """Writes a line with the time; a closed standard error must not fail the request."""
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    with contextlib.suppress(OSError, ValueError):
        print(f"t5x-lite serve: {now} {line}", file=sys.stderr, flush=True)
