"""Tests t5x_lite/serving/request_log.py"""

# ruff: noqa: E402 - imports come after the skip

import asyncio
import io
import re
import sys

import pytest

for needed in ("starlette", "prometheus_client"):
    pytest.importorskip(needed, reason="the extra serve is not installed")

from t5x_lite.serving.request_log import RequestLog, write_to_stderr
from t5x_lite.serving.telemetry import Telemetry
from tests.serving.apps import answer


class Logged:
    """What is logged and counted of a request, and the headers of its response."""

    def __init__(self, path="/v1/models", app=answer, method="GET", **headers):
        self.telemetry, self.lines, sent = Telemetry(lambda: 0), [], []

        async def send(message):
            sent.append(message)

        encoded = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        scope = {"type": "http", "method": method, "path": path, "headers": encoded, "client": ("10.0.0.7", 5)}
        try:
            asyncio.run(RequestLog(app, self.telemetry, self.lines.append)(scope, None, send))
        finally:
            self.id = dict(sent[0]["headers"])[b"x-request-id"].decode() if sent else None

    def count(self, route, status):
        return self.telemetry.registry.get_sample_value("t5x_lite_requests_total", {"route": route, "status": status})


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
    assert Logged(path).count(route, "204") == 1


def test_a_request_that_raises_counts_as_500():
    async def broken(scope, receive, send):
        raise RuntimeError

    lines = []
    telemetry = Telemetry(lambda: 0)
    scope = {"type": "http", "method": "GET", "path": "/v1/models", "headers": []}
    with pytest.raises(RuntimeError):
        asyncio.run(RequestLog(broken, telemetry, lines.append)(scope, None, None))
    labels = {"route": "/v1/models", "status": "500"}
    assert telemetry.registry.get_sample_value("t5x_lite_requests_total", labels) == 1
    assert "/v1/models 500" in lines[0]


def test_a_request_is_one_line_with_the_id_of_its_response():
    logged = Logged("/v1/completions", method="POST")
    [line] = logged.lines
    assert re.fullmatch(rf"id={logged.id} client=10.0.0.7 POST /v1/completions 204 \d+\.\d{{3}}s", line)
    assert Logged().id != Logged().id


def test_a_client_may_choose_the_id_if_it_fits_in_a_line():
    assert Logged(x_request_id="mine-1.2").id == "mine-1.2"
    for wrong in ("a b", "a\nb", "x" * 65, ""):
        assert Logged(x_request_id=wrong).id.startswith("req-")


def test_nothing_a_client_wrote_but_its_id_is_logged():
    [line] = Logged("/secret/../secret", method="SECRET", authorization="Bearer secret", host="secret").lines
    assert "secret" not in line.lower()


@pytest.mark.parametrize("path", ["/health", "/metrics"])
def test_polling_is_logged_only_if_it_fails(path):
    async def unavailable(scope, receive, send):
        await send({"type": "http.response.start", "status": 503, "headers": []})

    assert Logged(path).lines == []
    assert len(Logged(path, unavailable).lines) == 1


def test_a_closed_standard_error_is_no_error(monkeypatch, capsys):
    write_to_stderr("one")
    assert re.fullmatch(r"t5x-lite serve: \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ one\n", capsys.readouterr().err)
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stderr", closed)
    write_to_stderr("two")
