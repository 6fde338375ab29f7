"""What benchmarks/attacks.py sends to a server, and does to its files."""

import contextlib
import shutil
import socket
import struct
import threading
import time
import urllib.request
import zlib
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import grpc
import numpy as np
from coda_keras_export.api import serving_pb2
from coda_keras_export.api.connection import PREDICT, Client

from benchmarks import served
from benchmarks.serving import SIZE

# Idle ones, and as many as the server takes.
CONNECTIONS, MOST = 400, 128
# Larger ones answer slowly enough for a queue to form.
LARGE = 700


class Target(NamedTuple):
    """A server under attack.

    Attributes:
        channel: a connection to it.
        address, metrics: `host:port` of its API and of its metrics.
        model: folder of the model that it serves.
    """

    channel: grpc.Channel | None
    address: str
    metrics: str
    model: Path


def images(count: int) -> dict[str, np.ndarray]:
    return {"images": np.full((count, SIZE, SIZE, 3), 0.5, "float32")}


def claims(field: str, value: object, shape: Iterable[int], signature: str, name: str) -> bytes:
    """A small message for a large array: one value, and a shape."""
    made = serving_pb2.PredictRequest.FromString(served.request({}, signature))
    proto = made.inputs[name]
    proto.dtype = {"float_val": 1, "int_val": 3, "string_val": 7}[field]
    getattr(proto, field).append(value)
    for size in shape:
        proto.tensor_shape.dim.add(size=size)
    return made.SerializeToString()


def bomb(side: int) -> bytes:
    """A valid PNG of one bit a pixel, which has hardly any bytes."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    packer, row, packed = zlib.compressobj(9), bytes(1 + (side + 7) // 8), b""
    for _ in range(side):
        packed += packer.compress(row)
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", packed + packer.flush()) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def answers(futures: Iterable[grpc.Future]) -> Counter:
    return Counter(future.code().name for future in futures)


def send(channel: grpc.Channel, requests: Iterable[bytes], **options) -> Counter:
    """Sends them all at once."""
    call = served.predict(channel)
    return answers([call.future(request, timeout=120, **options) for request in requests])


def sent(requests: Iterable[bytes], **options) -> Callable[[Target], Counter]:
    """An attack by messages alone."""
    return lambda target: send(target.channel, requests, **options)


def ordinary(target: Target) -> Counter:
    """Requests of somebody else, whose connection is new."""
    with served.channel(target.address) as channel:
        # A client tries again where it is not let in at once.
        return send(channel, [served.request(images(1))] * 20, wait_for_ready=True)


def silence(target: Target) -> Counter:
    """Calls that send headers and nothing else, on three connections; requests of others."""
    over = threading.Event()

    def nothing():
        over.wait()
        yield b""

    with contextlib.ExitStack() as stack:
        stack.callback(over.set)
        for _ in range(3):
            call = stack.enter_context(served.channel(target.address)).stream_unary(PREDICT)
            for _ in range(2000):
                stack.callback(call.future(nothing()).cancel)
        return ordinary(target)


def connect(address: str, number: int, text: bytes) -> contextlib.ExitStack:
    """As many connections that say so much and no more."""
    host, port = address.rsplit(":", 1)
    stack = contextlib.ExitStack()
    for _ in range(number):
        connection = stack.enter_context(socket.create_connection((host, int(port)), 60))
        connection.sendall(text)
    return stack


def idle(target: Target) -> Counter:
    with connect(target.address, CONNECTIONS, b""):
        return ordinary(target)


def half_requests(target: Target) -> Counter:
    """Of which one is answered all the same."""
    url = f"http://{target.metrics}/metrics"
    half = connect(target.metrics, 300, b"GET /metr")
    with half, urllib.request.urlopen(url, timeout=60) as answer:
        return Counter({f"HTTP {answer.status}": 1})


def large_graph(target: Target) -> Counter:
    """A version whose graph is a sparse file of 3 GiB; what becomes of it."""
    hidden, version = target.model / ".tmp-2", target.model / "2"
    shutil.copytree(target.model / "1", hidden)
    with (hidden / "saved_model.pb").open("r+b") as graph:
        graph.truncate(3 << 30)
    hidden.rename(version)
    try:
        with Client(target.address, served.MODEL, timeout=60) as client:
            while client.status().get(2, ("LOADING", ""))[0] == "LOADING":
                time.sleep(0.05)
            return Counter(state for state, _ in client.status().values())
    finally:
        shutil.rmtree(version)


def cancel(target: Target) -> Counter:
    """Requests whose clients go at once."""
    call, request = served.predict(target.channel), served.request(images(LARGE))
    calls = [call.future(request, timeout=120) for _ in range(500)]
    for future in calls:
        future.cancel()
    return answers(calls)


def attacks() -> dict[str, Callable[[Target], Counter]]:
    """What is done, by what it is called."""
    floats = claims("float_val", 0.5, (100_000, SIZE, SIZE, 3), "classify", "images")
    integers = claims("int_val", 1, (100_000_000,), "labels", "class_ids")
    strings = claims("string_val", b"x", (500_000_000,), "serving_bytes", "image_bytes")
    packed = served.request({"image_bytes": np.array([bomb(23_000)], object)}, "serving_bytes")
    long = serving_pb2.PredictRequest.FromString(served.request(images(1)))
    long.model_spec.name = "x" * 2**20
    large, small = served.request(images(2000)), served.request(images(1))
    zeros = bytes(30 * 2**20)
    gzip = {"compression": grpc.Compression.Gzip}
    return {
        "100 messages of 50 bytes for arrays of 10^8 values": sent(
            [floats, integers, strings, floats] * 25
        ),
        f"50 PNG files of {len(packed) // 1000} KB with 23,000 x 23,000 pixels": sent(
            [packed] * 50
        ),
        "20 messages of 30 MiB in 30 KB of gzip": sent([zeros] * 20, **gzip),
        "6000 calls of headers only, 20 requests of others": silence,
        f"600 requests of {len(large) / 1e6:.1f} MB at once": sent([large] * 600),
        "3000 small requests at once": sent([small] * 3000),
        f"500 requests of {LARGE} images, given up at once": cancel,
        "1000 messages of random bytes": sent(
            [np.random.default_rng(n).bytes(999) for n in range(1000)]
        ),
        "50 names of a megabyte": sent([long.SerializeToString()] * 50),
        "a message of 77 MB": sent([served.request(images(100_000))]),
        f"{CONNECTIONS} idle connections, {MOST} allowed, 20 requests of others": idle,
        "300 half requests for metrics, one of another": half_requests,
        "a version with a graph of 3 GiB": large_graph,
    }
