"""Loads the embedded server: clients times images a request, every answer compared.

    PYTHONPATH=. python benchmarks/serving.py load --output benchmarks/results/serving-load.json
    PYTHONPATH=. python benchmarks/serving.py publish \
        --output benchmarks/results/serving-publish.json

`load` sends requests from as many threads as there are clients, each over a connection of its own,
and counts those that fail or that answer anything but what the session itself says; cases that the
output has already are not run again. `publish` does so while new versions appear, of two nets in
turn: an answer must be that of the version it names.
"""

import argparse
import json
import os
import sys
import threading
import time
from collections import Counter
from concurrent import futures
from pathlib import Path

os.environ["KERAS_BACKEND"] = "tensorflow"

import grpc
import keras
import numpy as np
import tensorflow as tf
from coda_keras_export.api.connection import Client
from coda_keras_export.servable.loading import Servable

from benchmarks import served
from coda_keras import CoDANet, DAUConv2D
from coda_keras.utils.command_line import Parser, positive_int
from coda_keras.utils.files import write_json

SIZE, POOL = 8, 64


def parse(arguments=None) -> argparse.Namespace:
    parser = Parser(description=__doc__)
    modes = parser.add_subparsers(dest="mode", required=True)
    load, publish = modes.add_parser("load"), modes.add_parser("publish")
    load.add_argument(
        "--requests", type=positive_int, default=3000, help="of each case (%(default)s)"
    )
    load.add_argument("--clients", type=positive_int, nargs="+", default=[1, 4, 16])
    load.add_argument("--batches", type=positive_int, nargs="+", default=[1, 8], help="images")
    publish.add_argument("--clients", type=positive_int, default=8, help="default: %(default)s")
    publish.add_argument("--versions", type=positive_int, default=100, help="default: %(default)s")
    for mode in (load, publish):
        mode.add_argument("--output", type=Path, required=True, help="JSON file of the results")
    return parser.parse_args(arguments)


def tiny_net(seed: int) -> CoDANet:
    """So small that a request costs little but its transport."""
    keras.utils.set_random_seed(seed)
    layers = [DAUConv2D(4, 2, 3, strides=2), DAUConv2D(3, 4, 1)]
    return CoDANet(layers, temperature=0.1, image_size=SIZE)


class Requests:
    """Requests of one batch size, and what every version answers to them.

    Args:
        paths: folders of versions, by their number.
        batch: images of a request.
    """

    def __init__(self, paths: dict[int, Path], batch: int):
        random = np.random.default_rng(batch)
        sessions = {version: Servable(path, on_cpu=True) for version, path in paths.items()}
        self.encoded, self.expected = [], []
        for _ in range(POOL):
            images = random.random((batch, SIZE, SIZE, 3), "float32")
            protos = {"images": tf.make_tensor_proto(images)}
            self.encoded.append(served.request({"images": images}))
            self.expected.append(
                {v: session.predict("", protos) for v, session in sessions.items()}
            )
        for session in sessions.values():
            session.close()

    def wrong(self, number: int, response) -> bool:
        """Whether an answer is another than that of the net whose version it names."""
        nets = len(self.expected[number])
        # Copies take the nets in turn: odd versions are the first, even the second.
        net = (response.model_spec.version.value - 1) % nets + 1
        return served.differs(response, self.expected[number][net])


def run(address: str, requests: Requests, clients: int, count: int, stop=None) -> dict:
    """Sends `count` requests, or as many as fit in until `stop` is set, and compares answers."""
    latencies, outcomes, versions = [], Counter(), set()
    lock, numbers = threading.Lock(), iter(range(count))

    def work() -> None:
        with served.channel(address) as channel:
            call, mine, ends, seen = served.predict(channel), [], Counter(), set()
            while not (stop and stop.is_set()):
                with lock:
                    number = next(numbers, None)
                if number is None:
                    break
                begun = time.perf_counter()
                try:
                    response = call(requests.encoded[number % POOL], timeout=600)
                except grpc.RpcError as error:
                    ends[error.code().name] += 1
                    continue
                mine.append(time.perf_counter() - begun)
                seen.add(response.model_spec.version.value)
                ends["wrong" if requests.wrong(number % POOL, response) else "right"] += 1
        with lock:
            latencies.extend(mine)
            outcomes.update(ends)
            versions.update(seen)

    threads = [threading.Thread(target=work) for _ in range(clients)]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - begun
    milliseconds = 1000 * np.array(latencies)
    sent = sum(outcomes.values())
    return {
        "clients": clients,
        "requests": sent,
        "right": outcomes.pop("right", 0),
        "wrong": outcomes.pop("wrong", 0),
        "failed": dict(outcomes),
        "versions": len(versions),
        "seconds": seconds,
        "requests_per_second": sent / seconds,
        "milliseconds": {f"p{p}": float(np.percentile(milliseconds, p)) for p in (50, 95, 99)},
    }


def measure_load(args: argparse.Namespace, results: list[dict]) -> list[dict]:
    done = {(row["clients"], row["batch"]) for row in results}
    cases = [(clients, batch) for batch in args.batches for clients in args.clients]
    with served.servables(tiny_net(1)) as folder, served.running(folder) as server:
        for clients, batch in cases:
            if (clients, batch) in done:
                continue
            requests = Requests({1: folder / served.MODEL / "1"}, batch)
            run(server.address, requests, clients, 200)
            before = server.mib()
            row = {"batch": batch}
            row |= run(server.address, requests, clients, args.requests)
            results.append(row | {"memory_mib": [before, server.mib()]})
            print(table(results)[-1], flush=True)
    return results


def measure_publish(args: argparse.Namespace) -> list[dict]:
    with served.servables(tiny_net(1), tiny_net(2)) as folder:
        base = folder / served.MODEL
        requests = Requests({1: base / "1", 2: base / "2"}, 1)
        sources = {version: base.with_name(f".source-{version}") for version in (1, 2)}
        for version, source in sources.items():
            served.publish(base / str(version), source)
        with (
            served.running(folder, ["--poll", "0.2"]) as server,
            Client(server.address, served.MODEL, timeout=600) as client,
            futures.ThreadPoolExecutor(1) as background,
        ):
            before, done = server.mib(), threading.Event()
            loading = background.submit(
                run, server.address, requests, args.clients, sys.maxsize, done
            )
            try:
                for version in range(3, args.versions + 3):
                    served.publish(sources[(version - 1) % 2 + 1], base / str(version))
                    while client.status().get(version, ("",))[0] != "AVAILABLE":
                        time.sleep(0.02)
            finally:
                done.set()
            row = {"batch": 1} | loading.result() | {"memory_mib": [before, server.mib()]}
    print(table([row])[-1], flush=True)
    return [row]


HEADER = (
    "| clients | images | requests | failed | wrong | a second | p50 | p95 | p99 | memory |\n"
    "|---|---|---|---|---|---|---|---|---|---|"
)


def table(rows: list[dict]) -> list[str]:
    """The lines of a Markdown table; latencies in ms, the server's memory in MiB."""
    lines = HEADER.split("\n")
    for row in rows:
        latencies = " | ".join(f"{value:.1f}" for value in row["milliseconds"].values())
        before, after = row["memory_mib"]
        lines.append(
            f"| {row['clients']} | {row['batch']} | {row['requests']:,} "
            f"| {sum(row['failed'].values())} | {row['wrong']} "
            f"| {row['requests_per_second']:,.0f} | {latencies} | {before:.0f} → {after:.0f} |"
        )
    return lines


def main() -> None:
    args = parse()
    record = served.conditions(args)
    print(HEADER, flush=True)
    if args.mode == "publish":
        record["results"] = measure_publish(args)
    else:
        before = json.loads(args.output.read_text())["results"] if args.output.exists() else []
        record["results"] = measure_load(args, before)
    write_json(args.output, record)
    print(f"Wrote {args.output}")


if __name__ == "__main__":
    main()
