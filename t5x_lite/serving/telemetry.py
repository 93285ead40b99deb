# SPDX-License-Identifier: Apache-2.0
"""What a server tells Prometheus of itself."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Telemetry:
    """Counters of one server, in a registry of their own.

    Args:
      num_waiting: returns how many texts are in the queue.
    """

    def __init__(self, num_waiting: Callable[[], int]):
        self.registry = registry = CollectorRegistry()
        self._requests = Counter(
            "t5x_lite_requests", "Requests by route and status.", ["route", "status"], registry=registry
        )
        self._input_tokens = Counter("t5x_lite_input_tokens", "Tokens of prompts answered.", registry=registry)
        self._new_tokens = Counter("t5x_lite_new_tokens", "Tokens decoded for clients.", registry=registry)
        self._batches = Histogram("t5x_lite_batch_size", "Texts in a batch.", buckets=SIZES, registry=registry)
        self._seconds = Histogram(
            "t5x_lite_request_seconds",
            "Seconds from a request to the end of its answer.",
            ["route"],
            buckets=SECONDS,
            registry=registry,
        )
        self._first = Histogram(
            "t5x_lite_first_token_seconds",
            "Seconds from a completion's request to its first tokens.",
            buckets=SECONDS,
            registry=registry,
        )
        waiting = Gauge("t5x_lite_queue_length", "Texts that wait for the model.", registry=registry)
        waiting.set_function(num_waiting)

    def request(self, route: str, status: int, seconds: float) -> None:
        """Counts a request that is over."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def tokens(self, num_input: int, num_new: int) -> None:
        """Counts the tokens of an answer."""
        self._input_tokens.inc(num_input)
        self._new_tokens.inc(num_new)

    def first_tokens(self, seconds: float) -> None:
        """Notes how long a completion's first tokens took."""
        self._first.observe(seconds)

    def batch(self, num_jobs: int) -> None:
        """Notes the size of a batch."""
        self._batches.observe(num_jobs)

    def text(self) -> bytes:
        """Returns all of it as Prometheus reads it."""
        return generate_latest(self.registry)
