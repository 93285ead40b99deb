"""Tests t5x_lite/serving/telemetry.py"""

import pytest

pytest.importorskip("prometheus_client", reason="the extra serve is not installed")

from t5x_lite.serving import telemetry as telemetry_module
from t5x_lite.serving.telemetry import Telemetry


def value(telemetry: Telemetry, name: str, **labels) -> float | None:
    return telemetry.registry.get_sample_value(name, labels)


def test_events_are_counted():
    telemetry = Telemetry(lambda: 7)
    for status in (200, 200, 429):
        telemetry.request("/v1/completions", status, 0.3)
    telemetry.tokens(11, 5)
    telemetry.tokens(2, 1)
    telemetry.batch_sizes.observe(3)
    telemetry.first_token_seconds.observe(0.2)
    assert value(telemetry, "t5x_lite_requests_total", route="/v1/completions", status="200") == 2
    assert value(telemetry, "t5x_lite_requests_total", route="/v1/completions", status="429") == 1
    assert value(telemetry, "t5x_lite_request_seconds_sum", route="/v1/completions") == pytest.approx(0.9)
    assert value(telemetry, "t5x_lite_input_tokens_total") == 13
    assert value(telemetry, "t5x_lite_new_tokens_total") == 6
    assert value(telemetry, "t5x_lite_batch_size_bucket", le="2.0") == 0
    assert value(telemetry, "t5x_lite_batch_size_bucket", le="4.0") == 1
    assert value(telemetry, "t5x_lite_first_token_seconds_sum") == pytest.approx(0.2)
    assert value(telemetry, "t5x_lite_queue_length") == 7


def test_the_quantiles_are_those_of_a_routes_recent_requests(monkeypatch):
    monkeypatch.setattr(telemetry_module, "RECENT", 100)
    telemetry = Telemetry(lambda: 0)
    for number in [1000, *range(100)]:
        telemetry.request("/v1/completions", 200, float(number))
    telemetry.request("/health", 200, 7.0)
    found = [
        value(telemetry, "t5x_lite_recent_request_seconds", route="/v1/completions", quantile=quantile)
        for quantile in ("0.5", "0.95", "0.99")
    ]
    assert found == pytest.approx([49.5, 94.05, 98.01])
    assert value(telemetry, "t5x_lite_recent_request_seconds", route="/health", quantile="0.99") == 7


def test_metrics_have_prometheus_format_and_servers_are_separate():
    telemetry, other = Telemetry(lambda: 0), Telemetry(lambda: 0)
    telemetry.request("/health", 200, 0.0)
    line = 't5x_lite_requests_total{route="/health",status="200"} 1.0'
    assert line in telemetry.text().decode().splitlines()
    assert line not in other.text().decode()
