"""Metrics for Prometheus, under the names that the stock server gives them."""

import asyncio
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import Metric

# The stock server's: 10 microseconds, each bucket 1.8 times the one before, up to 20 minutes.
_BUCKETS = [10 * 1.8**exponent for exponent in range(33)]
# Of HTTP requests for metrics: at once, and what one may take. They have no thread.
_CONNECTIONS, _SECONDS, _MAX_REQUEST_BYTES = 16, 10, 2**14


class Metrics:
    """What is counted while the server runs.

    `:tensorflow:serving:request_count{model_name, status}` counts requests,
    `:tensorflow:serving:request_latency{model_name, API, entrypoint}` has the microseconds from
    the arrival to the answer of those that were answered well,
    `:tensorflow:cc:saved_model:load_attempt_count{model_path, status}` counts attempts to load.
    `coda_keras_requests_present` is the number of requests that run or wait. Figures of the
    process, such as its memory, stand beside them.
    """

    def __init__(self) -> None:
        disable_created_metrics()
        self._open: dict[asyncio.StreamWriter, None] = {}
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
        self._present = Gauge(
            "coda_keras_requests_present", "Requests that run or wait.", registry=self._registry
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

    def watch(self, present: Callable[[], int]) -> None:
        """Shows from here on what a function returns as the number of requests that run or wait."""
        self._present.set_function(present)

    def attempted(self, path: str | os.PathLike, loaded: bool) -> None:
        """Counts an attempt to load the version in `path`."""
        self._loads.add(str(path), "success" if loaded else "fail")

    async def serve(self, host: str, port: int) -> int:
        """Answers HTTP requests from here on.

        Returns:
            The port; 0 takes a free one.

        Raises:
            OSError: if the address cannot be bound.
        """
        try:
            server = await asyncio.start_server(self._connect, host, port, limit=_MAX_REQUEST_BYTES)
        except OSError as error:
            raise OSError(f"Cannot listen for metrics on {host}:{port}: {error}.") from error
        return server.sockets[0].getsockname()[1]

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers the request of a connection, which is closed if a newer one needs its place."""
        self._open[writer] = None
        if len(self._open) > _CONNECTIONS:
            oldest = next(iter(self._open))
            del self._open[oldest]
            oldest.transport.abort()
        try:
            await asyncio.wait_for(self._answer(reader, writer), _SECONDS)
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError, asyncio.TimeoutError):
            writer.transport.abort()
        finally:
            self._open.pop(writer, None)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        if request.startswith(b"GET "):
            status, body = "200 OK", await asyncio.to_thread(generate_latest, self._registry)
        else:
            status, body = "405 Method Not Allowed", b""
        # Whoever does not read the answer is not waited for after `_SECONDS`.
        writer.write(
            f"HTTP/1.1 {status}\r\nContent-Type: {CONTENT_TYPE_LATEST}\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
            + body
        )
        writer.close()
        await writer.wait_closed()


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
