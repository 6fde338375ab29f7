"""Attacks the embedded server and says what became of it.

    PYTHONPATH=. python benchmarks/attacks.py --output benchmarks/results/attacks.json

Meanwhile somebody else asks for the model's status again and again. Of every attack the table has
what was answered, the slowest of these answers, and how far the server's memory rose at most;
afterwards the model must answer as before.
"""

import argparse
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

os.environ["KERAS_BACKEND"] = "tensorflow"

from coda_keras_export.api.connection import Client

from benchmarks import hostile, served
from benchmarks.serving import tiny_net
from coda_keras.utils.command_line import Parser
from coda_keras.utils.files import write_json

HEADER = "| attack | answers | slowest status | memory |\n|---|---|---|---|"


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


def measure(server: served.Server, target: hostile.Target, name: str, attack: Callable) -> dict:
    """Runs one attack, after which the model must answer as before."""
    request = served.request(hostile.images(1))
    with served.channel(server.address) as channel:
        call = served.predict(channel)
        expected = call(request, timeout=60)
        server.peak_mib()
        before = server.mib()
        with Watch(server.address) as watch:
            answered = attack(target._replace(channel=channel))
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
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    flags = ["--metrics-port", port, "--max-connections", str(hostile.MOST)]
    with served.servables(tiny_net(1)) as folder, served.running(folder, flags) as server:
        target = hostile.Target(None, server.address, f"127.0.0.1:{port}", folder / served.MODEL)
        for name, attack in hostile.attacks().items():
            if args.only in name:
                row = measure(server, target, name, attack)
                record["results"].append(row)
                print(table([row])[-1], flush=True)
    write_json(args.output, record)
    failed = [row["attack"] for row in record["results"] if not row["as_before"]]
    if failed:
        sys.exit(f"Not answered as before after: {', '.join(failed)}.")
    print(f"Wrote {args.output}")


if __name__ == "__main__":
    main()
