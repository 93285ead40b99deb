# SPDX-License-Identifier: Apache-2.0
"""Prometheus metrics of the server."""

import collections
import functools
from collections.abc import Callable

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250)
QUANTILES = (0.5, 0.95, 0.99)
RECENT = 1000  # requests of a route that quantiles are of
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Telemetry:
    """Metrics of one server, in a separate registry; `num_waiting` returns the queue length."""

    def __init__(self, num_waiting: Callable[[], int]):
        self.registry = registry = CollectorRegistry()
        self._requests = Counter(
            "t5x_lite_requests", "Requests by route and status.", ["route", "status"], registry=registry
        )
        self._input_tokens = Counter("t5x_lite_input_tokens", "Prompt tokens of finished requests.", registry=registry)
        self._new_tokens = Counter("t5x_lite_new_tokens", "Generated tokens.", registry=registry)
        self.batch_sizes = Histogram("t5x_lite_batch_size", "Prompts per batch.", buckets=SIZES, registry=registry)
        self._seconds = Histogram(
            "t5x_lite_request_seconds",
            "Seconds from a request to the end of its response.",
            ["route"],
            buckets=SECONDS,
            registry=registry,
        )
        self._quantiles = Gauge(
            "t5x_lite_recent_request_seconds",
            f"Quantiles of the seconds of the last {RECENT} requests.",
            ["route", "quantile"],
            registry=registry,
        )
        self._recent: dict[str, collections.deque[float]] = {}
        self.first_token_seconds = Histogram(
            "t5x_lite_first_token_seconds",
            "Seconds from a completions request to its first tokens.",
            buckets=SECONDS,
            registry=registry,
        )
        Gauge("t5x_lite_queue_length", "Prompts in the queue.", registry=registry).set_function(num_waiting)

    def watch_programs(self, num_kept: Callable[[], int], num_compiled: Callable[[], int]) -> None:
        """Reports numbers of compiled programs: those that are kept, and those that were ever compiled."""
        kept = Gauge("t5x_lite_programs", "Compiled programs that are kept.", registry=self.registry)
        kept.set_function(num_kept)
        compiled = Gauge("t5x_lite_programs_compiled", "Programs compiled since the start.", registry=self.registry)
        compiled.set_function(num_compiled)

    def request(self, route: str, status: int, seconds: float) -> None:
        """Records a finished request."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)
        if route not in self._recent:
            recent = self._recent[route] = collections.deque(maxlen=RECENT)
            for quantile in QUANTILES:
                self._quantiles.labels(route, str(quantile)).set_function(
                    functools.partial(_quantile, recent, quantile)
                )
        self._recent[route].append(seconds)

    def tokens(self, num_input: int, num_new: int) -> None:
        """Records the tokens of a finished request."""
        self._input_tokens.inc(num_input)
        self._new_tokens.inc(num_new)

    def text(self) -> bytes:
        """Returns all metrics in the Prometheus text format."""
        return generate_latest(self.registry)


def _quantile(recent: collections.deque[float], quantile: float) -> float:
    return float(np.quantile(list(recent), quantile))
