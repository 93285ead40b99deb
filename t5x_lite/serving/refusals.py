# SPDX-License-Identifier: Apache-2.0
"""Why a request gets no answer, in the form that OpenAI's clients read."""

from typing import Any

RATE_LIMIT, BAD_REQUEST, BAD_KEY, SERVER = (
    "rate_limit_error",
    "invalid_request_error",
    "authentication_error",
    "server_error",
)
TYPES = {401: BAD_KEY, 429: RATE_LIMIT}
CODES = {401: "invalid_api_key", 429: "rate_limit_exceeded", 504: "timeout", 408: "timeout", 503: "unavailable"}
SECONDS_TO_COME_BACK = {429: 1, 503: 5}


class Refused(Exception):
    """A request that is not answered.

    Args:
      status: of HTTP.
      message: what is wrong, and the remedy.
      param: the field that is wrong.
      code: a word for programs; None is the status's usual one.
    """

    def __init__(self, status: int, message: str, param: str | None = None, *, code: str | None = None):
        super().__init__(message)
        self.status, self.message, self.param = status, message, param
        self.code = code or CODES.get(status)

    @property
    def body(self) -> dict[str, Any]:
        """The JSON object that says so."""
        kind = TYPES.get(self.status, SERVER if self.status >= 500 else BAD_REQUEST)
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}

    @property
    def headers(self) -> dict[str, str]:
        """When to come back, or what was missing."""
        if self.status == 401:
            return {"WWW-Authenticate": "Bearer"}
        seconds = SECONDS_TO_COME_BACK.get(self.status)
        return {} if seconds is None else {"Retry-After": str(seconds)}
