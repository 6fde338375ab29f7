"""Times the trained presets: a prediction, and a prediction with its explanation.

    python benchmarks/presets.py --output benchmarks/results/presets.json

Milliseconds per image in float32, compiled, for single images and for batches of 64: medians after
two calls that are not counted. The model zoo of the documentation shows them.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from coda_keras import CoDANet, backend
from coda_keras.models.pretrained import cards
from coda_keras.utils import provenance
from coda_keras.utils.command_line import Parser, command, positive_int
from coda_keras.utils.files import write_json
from coda_keras.utils.text import markdown_table

ROOT = Path(__file__).resolve().parents[1]
BATCHES = (1, 64)
WARM_UP = 2


@command
def main(arguments: Sequence[str] | None = None, prog: str | None = None) -> None:
    args = parse(arguments, prog)
    record = provenance.conditions(vars(args), ROOT, "coda_keras", "benchmarks/presets.py")
    record["results"] = [measure(name, args.repetitions) for name in cards()]
    write_json(args.output, record)
    print(*table(record["results"]), sep="\n")


def measure(name: str, repetitions: int) -> dict[str, Any]:
    """A row of results: milliseconds per image of both operations, by the size of the batch."""
    net = CoDANet.from_preset(name)
    functions = {
        "predict": backend.compiled(net, net),
        "explain": backend.compiled(lambda images: net.explain(images).contribution_map, net),
    }
    random = np.random.default_rng(0)
    milliseconds = {
        operation: {
            str(count): median(
                function, random.random((count, *net.image_size, 3), "float32"), repetitions
            )
            for count in BATCHES
        }
        for operation, function in functions.items()
    }
    return {"preset": name, "milliseconds_per_image": milliseconds}


def median(function: Callable, images: np.ndarray, repetitions: int) -> float:
    """The median time of a call in milliseconds per image."""
    for _ in range(WARM_UP):
        function(images)
    times = []
    for _ in range(repetitions):
        begun = time.perf_counter()
        function(images)
        times.append(1000 * (time.perf_counter() - begun) / len(images))
    return statistics.median(times)


def table(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The lines of a Markdown table, in milliseconds per image."""
    columns = [(operation, size) for operation in ("predict", "explain") for size in BATCHES]
    return markdown_table(
        ["preset", *(f"{operation}, batches of {size}" for operation, size in columns)],
        (
            [f"`{row['preset']}`"]
            + [f"{row['milliseconds_per_image'][name][str(n)]:.1f}" for name, n in columns]
            for row in rows
        ),
    )


def parse(arguments: Sequence[str] | None, prog: str | None) -> argparse.Namespace:
    parser = Parser(prog=prog, description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="JSON file of the results")
    parser.add_argument(
        "--repetitions", type=positive_int, default=20, help="timed calls (%(default)s)"
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
