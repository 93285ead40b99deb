"""Tests t5x_lite/serving/middleware.py"""

# ruff: noqa: E402 - imports come after the skip

import asyncio

import pytest

for needed in ("starlette", "prometheus_client"):
    pytest.importorskip(needed, reason="the extra serve is not installed")

from t5x_lite.serving import middleware
from t5x_lite.serving.middleware import BearerToken, BodyTooLarge, RequestMetrics, error_response
from t5x_lite.serving.telemetry import Telemetry


async def answer(scope, receive, send):
    del scope, receive
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def run(app, path="/v1/models", headers=(), messages=()):
    """What an application sends to a client that sends some messages."""
    sent, left = [], list(messages)

    async def receive():
        return left.pop(0)

    async def send(message):
        sent.append((message, len(left)))

    scope = {"type": "http", "path": path, "headers": [(name.encode(), value.encode()) for name, value in headers]}
    asyncio.run(app(scope, receive, send))
    return sent


def status(sent) -> int:
    return sent[0][0]["status"]


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/v1/completions", "/v1/completions"),
        ("/v1/models/mine", "/v1/models"),
        ("/v1/modelsandmore", "other"),
        ("/../secret", "other"),
    ],
)
def test_requests_are_counted_by_known_routes_only(path, route):
    telemetry = Telemetry(lambda: 0)
    run(RequestMetrics(answer, telemetry), path)
    assert telemetry.registry.get_sample_value("t5x_lite_requests_total", {"route": route, "status": "204"}) == 1


def test_a_request_that_raises_counts_as_500():
    async def broken(scope, receive, send):
        raise RuntimeError

    telemetry = Telemetry(lambda: 0)
    with pytest.raises(RuntimeError):
        run(RequestMetrics(broken, telemetry))
    labels = {"route": "/v1/models", "status": "500"}
    assert telemetry.registry.get_sample_value("t5x_lite_requests_total", labels) == 1


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


def test_only_v1_needs_the_key_and_only_if_there_is_one():
    assert status(run(BearerToken(answer, None))) == 204
    assert status(run(BearerToken(answer, "secret"), path="/health")) == 204


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
