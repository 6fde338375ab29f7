"""Attacks the embedded server and says what became of it.

    python benchmarks/attacks.py --output benchmarks/results/attacks.json

Meanwhile somebody else asks for the model's status again and again. Of every attack the table has
what was answered, the slowest of these answers, and how far the server's memory rose at most;
afterwards the model must answer as before.
"""

import argparse
import os
import struct
import sys
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

os.environ["KERAS_BACKEND"] = "tensorflow"

import grpc
import numpy as np
from coda_keras_export.api import serving_pb2
from coda_keras_export.api.connection import PREDICT, Client

from benchmarks import served
from benchmarks.serving import SIZE, tiny_net
from coda_keras.utils.command_line import Parser
from coda_keras.utils.files import write_json

# Larger ones answer slowly enough for a queue to form.
LARGE = 700
HEADER = "| attack | answers | slowest status | memory |\n|---|---|---|---|"


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


def send(channel: grpc.Channel, requests: Iterable[bytes]) -> Counter:
    """Sends them all at once."""
    call = served.predict(channel)
    return answers([call.future(request, timeout=120) for request in requests])


def silence(channel: grpc.Channel) -> Counter:
    """Calls that send headers and nothing else; ordinary requests beside them."""
    over = threading.Event()

    def nothing():
        over.wait()
        yield b""

    calls = [channel.stream_unary(PREDICT).future(nothing()) for _ in range(200)]
    answered = send(channel, [served.request(images(1))] * 20)
    for call in calls:
        call.cancel()
    over.set()
    return answered


def cancel(channel: grpc.Channel) -> Counter:
    """Requests whose clients go at once."""
    call, request = served.predict(channel), served.request(images(LARGE))
    calls = [call.future(request, timeout=120) for _ in range(500)]
    for future in calls:
        future.cancel()
    return answers(calls)


def attacks() -> dict[str, Callable[[grpc.Channel], Counter]]:
    """What is done, by what it is called."""
    floats = claims("float_val", 0.5, (100_000, SIZE, SIZE, 3), "classify", "images")
    integers = claims("int_val", 1, (100_000_000,), "labels", "class_ids")
    strings = claims("string_val", b"x", (500_000_000,), "serving_bytes", "image_bytes")
    packed = served.request({"image_bytes": np.array([bomb(23_000)], object)}, "serving_bytes")
    long = serving_pb2.PredictRequest.FromString(served.request(images(1)))
    long.model_spec.name = "x" * 2**20
    large = served.request(images(2000))
    return {
        "100 messages of 50 bytes for arrays of 10^8 values": lambda channel: send(
            channel, [floats, integers, strings, floats] * 25
        ),
        f"50 PNG files of {len(packed) // 1000} KB with 23,000 x 23,000 pixels": lambda channel: (
            send(channel, [packed] * 50)
        ),
        "200 calls of headers only, 20 requests beside them": silence,
        f"600 requests of {len(large) / 1e6:.1f} MB at once": lambda channel: send(
            channel, [large] * 600
        ),
        f"500 requests of {LARGE} images, given up at once": cancel,
        "1000 messages of random bytes": lambda channel: send(
            channel, [np.random.default_rng(n).bytes(999) for n in range(1000)]
        ),
        "50 names of a megabyte": lambda channel: send(channel, [long.SerializeToString()] * 50),
        "a message of 77 MB": lambda channel: send(channel, [served.request(images(100_000))]),
    }


class Watch:
    """Asks for the model's status all the time, and keeps the slowest answer."""

    def __init__(self, address: str):
        self.slowest, self.failed = 0.0, 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, args=(address,))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()

    def _work(self, address):
        with Client(address, served.MODEL, timeout=60) as client:
            while not self._over.wait(0.02):
                begun = time.perf_counter()
                try:
                    client.status()
                except OSError:
                    self.failed += 1
                self.slowest = max(self.slowest, time.perf_counter() - begun)


def measure(server: served.Server, name: str, attack: Callable, request: bytes) -> dict:
    """Runs one attack; `request` is what must be answered afterwards."""
    with served.channel(server.address) as channel:
        call = served.predict(channel)
        expected = call(request, timeout=60)
        server.peak_mib()
        before = server.mib()
        with Watch(server.address) as watch:
            answered = attack(channel)
        peak = server.peak_mib()
        response = call(request, timeout=60)
    return {
        "attack": name,
        "answers": dict(answered),
        "slowest_status_ms": 1000 * watch.slowest,
        "failed_status": watch.failed,
        "memory_mib": [before, peak],
        "as_before": response == expected,
        "alive": server.alive(),
    }


def table(rows: list[dict]) -> list[str]:
    """The lines of a Markdown table; the status in ms, the most memory more than before in MiB."""
    lines = HEADER.split("\n")
    for row in rows:
        counts = ", ".join(f"{count} {code}" for code, count in sorted(row["answers"].items()))
        before, peak = row["memory_mib"]
        lines.append(
            f"| {row['attack']} | {counts} | {row['slowest_status_ms']:.0f} "
            f"| +{max(0, peak - before):.0f} |"
        )
    return lines


def parse(arguments=None) -> argparse.Namespace:
    parser = Parser(description=__doc__)
    parser.add_argument("--only", default="", help="attacks whose name has this text")
    parser.add_argument("--output", type=Path, required=True, help="JSON file of the results")
    return parser.parse_args(arguments)


def main() -> None:
    args = parse()
    record = served.conditions(args)
    record["results"] = []
    print(HEADER, flush=True)
    with served.servables(tiny_net(1)) as folder, served.running(folder) as server:
        for name, attack in attacks().items():
            if args.only in name:
                row = measure(server, name, attack, served.request(images(1)))
                record["results"].append(row)
                print(table([row])[-1], flush=True)
    write_json(args.output, record)
    failed = [row["attack"] for row in record["results"] if not row["as_before"]]
    if failed:
        sys.exit(f"Not answered as before after: {', '.join(failed)}.")
    print(f"Wrote {args.output}")


if __name__ == "__main__":
    main()
