"""Times requests to the embedded server against the bare session, the two taking turns.

    PYTHONPATH=. python benchmarks/serving_overhead.py \
        --output benchmarks/results/serving-overhead.json

One client asks `serving_default` of a servable, whose whole answer is read, and the same session
runs in this process on the same images. Both use all cores, one after the other.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import numpy as np
import tensorflow as tf
from coda_keras_export.api import arrays

from benchmarks import served
from coda_keras import PRESETS, CoDANet
from coda_keras.utils.command_line import Parser
from coda_keras.utils.files import write_json

WARM_UP = 3
HEADER = "| images | session | over gRPC | ratio |\n|---|---|---|---|"


def parse(arguments=None) -> argparse.Namespace:
    parser = Parser(description=__doc__)
    parser.add_argument("--preset", choices=sorted(PRESETS), default="s_coda")
    parser.add_argument("--rank-scale", type=float, default=0.125, help="default: %(default)s")
    parser.add_argument("--image-size", type=int, help="default: the preset's")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 32], help="images")
    parser.add_argument("--repetitions", type=int, default=30, help="default: %(default)s")
    parser.add_argument("--output", type=Path, required=True, help="JSON file of the results")
    return parser.parse_args(arguments)


def bare_session(path: Path) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """Returns a function of images that runs `serving_default` and nothing else."""
    graph = tf.Graph()
    session = tf.compat.v1.Session(graph=graph)
    with graph.as_default():
        loaded = tf.compat.v1.saved_model.load(session, ["serve"], str(path))
    signature = loaded.signature_def["serving_default"]
    fetches = {name: info.name for name, info in signature.outputs.items()}
    return lambda images: session.run(fetches, {signature.inputs["images"].name: images})


def measure(
    session: Callable, call: Callable, images: np.ndarray, repetitions: int
) -> dict[str, object]:
    """Milliseconds of the two, taking turns."""

    def over_grpc(images):
        response = call(served.request({"images": images}), timeout=600)
        return {name: arrays.read(proto) for name, proto in response.outputs.items()}

    functions = {"session": session, "grpc": over_grpc}
    times = {name: [] for name in functions}
    expected = session(images)
    if served.differs(call(served.request({"images": images}), timeout=600), expected):
        raise ValueError("The server answers otherwise than the session.")
    for _ in range(WARM_UP):
        for function in functions.values():
            function(images)
    for repetition in range(repetitions):
        for name in list(functions)[:: 1 if repetition % 2 else -1]:
            begun = time.perf_counter()
            functions[name](images)
            times[name].append(1000 * (time.perf_counter() - begun))
    medians = {name: statistics.median(values) for name, values in times.items()}
    return {
        "images": len(images),
        "milliseconds": medians,
        "ratio": medians["grpc"] / medians["session"],
        "all_milliseconds": times,
    }


def table(rows: list[dict]) -> list[str]:
    """The lines of a Markdown table, in ms a request."""
    return HEADER.split("\n") + [
        f"| {row['images']} | {row['milliseconds']['session']:.1f} "
        f"| {row['milliseconds']['grpc']:.1f} | {row['ratio']:.2f} |"
        for row in rows
    ]


def main() -> None:
    args = parse()
    record = served.conditions(args)
    keras.utils.set_random_seed(0)
    net = CoDANet.from_preset(args.preset, rank_scale=args.rank_scale, image_size=args.image_size)
    record["results"] = []
    print(HEADER, flush=True)
    with (
        served.servables(net) as folder,
        served.running(folder) as server,
        served.channel(server.address) as channel,
    ):
        session = bare_session(folder / served.MODEL / "1")
        call, random = served.predict(channel), np.random.default_rng(0)
        for batch in args.batches:
            images = random.random((batch, *net.image_size, 3), "float32")
            record["results"].append(measure(session, call, images, args.repetitions))
            print(table(record["results"])[-1], flush=True)
    write_json(args.output, record)
    print(f"Wrote {args.output}")


if __name__ == "__main__":
    main()
