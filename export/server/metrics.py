"""Metrics for Prometheus, under the names that the stock server gives them."""

import os
import threading
from collections import Counter
from collections.abc import Iterator

from prometheus_client import (
    CollectorRegistry,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    start_http_server,
)
from prometheus_client.core import Metric

# The stock server's: 10 microseconds, each bucket 1.8 times the one before, up to 20 minutes.
_BUCKETS = [10 * 1.8**exponent for exponent in range(33)]


class Metrics:
    """What is counted while the server runs.

    `:tensorflow:serving:request_count{model_name, status}` counts requests,
    `:tensorflow:serving:request_latency{model_name, API, entrypoint}` has the microseconds from
    the arrival to the answer of those that were answered well,
    `:tensorflow:cc:saved_model:load_attempt_count{model_path, status}` counts attempts to load.
    Figures of the process, such as its memory, stand beside them.
    """

    def __init__(self) -> None:
        disable_created_metrics()
        self._registry = CollectorRegistry()
        self._requests = _Counts(
            ":tensorflow:serving:request_count",
            "Requests by model and status.",
            ("model_name", "status"),
        )
        self._loads = _Counts(
            ":tensorflow:cc:saved_model:load_attempt_count",
            "Attempts to load a version.",
            ("model_path", "status"),
        )
        self._latency = Histogram(
            ":tensorflow:serving:request_latency",
            "Microseconds from the arrival of a request to its answer.",
            ("model_name", "API", "entrypoint"),
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self._registry.register(self._requests)
        self._registry.register(self._loads)
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)

    def answered(self, model: str, status: str, seconds: float) -> None:
        """Counts a request.

        Args:
            model: name of a model; empty if there is none of the name that was asked for.
            status: name of a gRPC status code.
            seconds: from its arrival to its answer.
        """
        self._requests.add(model, status)
        if status == "OK":
            self._latency.labels(model, "Predict", "GRPC").observe(seconds * 1e6)

    def attempted(self, path: str | os.PathLike, loaded: bool) -> None:
        """Counts an attempt to load the version in `path`."""
        self._loads.add(str(path), "success" if loaded else "fail")

    def serve(self, host: str, port: int) -> None:
        """Answers HTTP requests, from a thread of its own.

        Raises:
            OSError: if the address cannot be bound.
        """
        try:
            start_http_server(port, host, self._registry)
        except OSError as error:
            raise OSError(f"Cannot listen for metrics on {host}:{port}: {error}.") from error


class _Counts:
    """A counter whose name does not end in `_total`, which the library would add."""

    def __init__(self, name: str, documentation: str, labels: tuple[str, ...]) -> None:
        self._name, self._documentation, self._labels = name, documentation, labels
        self._counts: Counter[tuple[str, ...]] = Counter()
        self._lock = threading.Lock()

    def add(self, *values: str) -> None:
        with self._lock:
            self._counts[values] += 1

    def collect(self) -> Iterator[Metric]:
        metric = Metric(self._name, self._documentation, "unknown")
        with self._lock:
            counts = sorted(self._counts.items())
        for values, count in counts:
            metric.add_sample(self._name, dict(zip(self._labels, values)), count)
        yield metric
