# SPDX-License-Identifier: Apache-2.0
"""ASGI middleware for access, and error responses."""

import asyncio
import contextlib
import hmac
import ipaddress
import urllib.parse
from collections.abc import Collection

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from t5x_lite.serving.schema import RequestError

PROTECTED = "/v1/"  # health checks and Prometheus need no key
# Many clients read the response only after sending the whole body, so oversized bodies are drained up to these limits.
MAX_DRAINED_BYTES, MAX_DRAIN_SECONDS = 64 * 2**20, 10.0


class BodyTooLarge(RequestError):
    """A request body of at least `num_bytes`, above the `limit`."""

    def __init__(self, num_bytes: int, limit: int):
        super().__init__(413, f"the body has at least {num_bytes} bytes, but the limit is {limit}: send less")


class BearerToken:
    """Rejects API requests without the key."""

    def __init__(self, app: ASGIApp, key: str):
        self._app, self._key = app, key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(PROTECTED):
            kind, _, given = Headers(scope=scope).get("authorization", "").partition(" ")
            if kind.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), self._key.encode()):
                problem = "is wrong" if given else "is missing"
                error = RequestError(401, f"the API key {problem}: send the header 'Authorization: Bearer KEY'")
                await error_response(error)(scope, receive, send)
                return
        await self._app(scope, receive, send)


class SameSite:
    """Rejects what a web page of another site can make a browser on this machine send, for a server without a key.

    Such a page may give its own name the server's address (DNS rebinding), and may post texts and forms to any address,
    but JSON only after the server's consent, which it never gets. Clients may address the server as localhost, as an IP
    address, or by one of `names`; "*" allows all names.
    """

    def __init__(self, app: ASGIApp, names: Collection[str]):
        self._app = app
        self._names = {"localhost", *(name.lower() for name in names)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        error = self._check(scope) if scope["type"] == "http" else None
        await (self._app if error is None else error_response(error))(scope, receive, send)

    def _check(self, scope: Scope) -> RequestError | None:
        headers = Headers(scope=scope)
        name = host_name(headers.get("host", "localhost"))  # every browser sends the header
        if "*" not in self._names and name not in self._names and not is_ip_address(name):
            message = (
                f"the Host header has {name!a}, which is not this server's: start it with --allowed_hosts or a key"
            )
            return RequestError(403, message)
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if scope["method"] == "POST" and kind != "application/json":
            return RequestError(415, f"the Content-Type is {kind!a}: send the header 'Content-Type: application/json'")
        return None


def host_name(header: str) -> str:
    """Returns the name or IP address in a Host header, without its port; empty if it is none."""
    try:
        parts = urllib.parse.urlsplit(f"//{header}")
    except ValueError:
        return ""
    return (parts.hostname or "").rstrip(".") if parts.username is None else ""


def is_ip_address(name: str) -> bool:
    """Returns whether a host is given as an IP address."""
    try:
        return bool(ipaddress.ip_address(name))
    except ValueError:
        return False


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
