"""Tests t5x_lite/serving/middleware.py"""

# ruff: noqa: E402 - imports come after the skip

import asyncio

import pytest

for needed in ("starlette", "prometheus_client"):
    pytest.importorskip(needed, reason="the extra serve is not installed")

from t5x_lite.serving import middleware
from t5x_lite.serving.middleware import BearerToken, BodyTooLarge, SameSite, error_response
from tests.serving.apps import answer


def run(app, path="/v1/models", headers=(), messages=(), method="GET"):
    """What an application sends to a client that sends some messages."""
    sent, left = [], list(messages)

    async def receive():
        return left.pop(0)

    async def send(message):
        sent.append((message, len(left)))

    encoded = [(name.encode(), value.encode()) for name, value in headers]
    scope = {"type": "http", "method": method, "path": path, "headers": encoded}
    asyncio.run(app(scope, receive, send))
    return sent


def status(sent) -> int:
    return sent[0][0]["status"]


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("Bearer ключ", 401),
        ("Bearer secret", 204),
        ("bearer secret ", 204),
        ("Bearer secret2", 401),
        ("Bearer", 401),
        ("secret", 401),
        ("Basic secret", 401),
        (None, 401),
    ],
)
def test_the_key_has_to_be_the_right_one(header, expected):
    headers = [] if header is None else [("authorization", header)]
    assert status(run(BearerToken(answer, "secret"), headers=headers)) == expected


def test_only_v1_needs_the_key():
    assert status(run(BearerToken(answer, "secret"), path="/health")) == 204


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost:8000", 204),
        ("LOCALHOST.", 204),
        ("127.0.0.1", 204),
        ("[::1]:8000", 204),
        ("10.1.2.3:80", 204),
        ("mine.example", 204),
        ("Mine.Example:443", 204),
        ("evil.example", 403),
        ("localhost.evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("evil.example#localhost", 403),
        ("evil.example@localhost", 403),
        ("[::1", 403),
        ("", 403),
    ],
)
def test_without_a_key_the_host_has_to_be_the_servers(host, expected):
    assert status(run(SameSite(answer, ["mine.example"]), headers=[("host", host)])) == expected


def test_a_star_allows_every_host():
    assert status(run(SameSite(answer, ["*"]), headers=[("host", "evil.example")])) == 204


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("application/json", 204),
        ("Application/JSON; charset=utf-8", 204),
        ("text/plain", 415),
        ("text/plain; application/json", 415),
        ("application/x-www-form-urlencoded", 415),
        ("multipart/form-data; boundary=a", 415),
        (None, 415),
    ],
)
def test_without_a_key_only_json_can_be_posted(kind, expected):
    headers = [] if kind is None else [("content-type", kind)]
    assert status(run(SameSite(answer, []), headers=headers, method="POST")) == expected


def test_a_body_that_is_too_large_is_answered_first_and_then_drained():
    parts = [{"type": "http.request", "body": b"x", "more_body": True}] * 3
    parts.append({"type": "http.request", "body": b"x", "more_body": False})
    sent = run(error_response(BodyTooLarge(9, 5)), messages=parts)
    assert status(sent) == 413
    assert [(message.get("more_body"), left) for message, left in sent] == [(None, 4), (True, 4), (False, 0)]
    assert (b"connection", b"close") in sent[0][0]["headers"]


def test_draining_stops_at_its_limit(monkeypatch):
    monkeypatch.setattr(middleware, "MAX_DRAINED_BYTES", 3)
    parts = [{"type": "http.request", "body": b"xx", "more_body": True}] * 9
    assert [left for _, left in run(error_response(BodyTooLarge(9, 5)), messages=parts)] == [9, 9, 7]


def test_draining_stops_when_the_client_disconnects():
    parts = [{"type": "http.disconnect"}, {"type": "http.disconnect"}]
    assert [left for _, left in run(error_response(BodyTooLarge(9, 5)), messages=parts)] == [2, 2, 1]
