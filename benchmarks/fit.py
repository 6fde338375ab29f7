"""How fast nets are for users of Keras: default `compile`, `fit`, `evaluate`, `predict`, `explain`.

    python benchmarks/fit.py --output benchmarks/results/fit.json

Every row is timed beside its reference, call by call in turn: `fit` and `evaluate` of a net that
was compiled by `net.compile()`, on arrays of floats, beside the batches and the compilation of the
recipes, and so is `predict`; `bare predict` beside a compiled call of the net on every batch, which
has no set-up; `explain`, called eagerly, and `explain_dataset` beside a function of the user's own
that is compiled (`tf.function`, `jax.jit`; torch runs it as it is). `check` is what looking at the
images costs: the same call under `coda_keras.unchecked` is its reference. Each of the backends is a
process of its own.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from coda_keras.utils import provenance
from coda_keras.utils.command_line import positive_int
from coda_keras.utils.files import write_json
from coda_keras.utils.text import markdown_table

ROOT = Path(__file__).resolve().parents[1]
BACKENDS = ("tensorflow", "jax", "torch")
SIZE, CLASSES = 32, 10
# Tensors of an explanation.
FIELDS = (
    *("logits", "class_ids", "weights", "contributions"),
    *("contribution_map", "bias", "residual"),
)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--backends", nargs="+", choices=BACKENDS, default=BACKENDS)
    parser.add_argument("--rank-scale", type=float, default=1 / 8, help="default: %(default)s")
    parser.add_argument("--batch-size", type=positive_int, default=32, help="default: %(default)s")
    parser.add_argument("--steps", type=positive_int, default=4, help="batches a call; default: 4")
    parser.add_argument("--repetitions", type=positive_int, default=5, help="default: 5")
    parser.add_argument(
        "--output", type=Path, help="JSON file of the results; those of other backends stay"
    )
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def measure(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Rows of results on the backend of this process."""
    from coda_keras import backend

    pairs = contenders(args)
    images = args.batch_size * args.steps
    rows = []
    for name, pair in pairs.items():
        for call in pair:
            call()
            call()
        times: tuple[list[float], list[float]] = ([], [])
        for repetition in range(args.repetitions):
            for which in (0, 1) if repetition % 2 else (1, 0):
                begun = time.perf_counter()
                pair[which]()
                times[which].append(1000 * (time.perf_counter() - begun) / images)
        own, reference = map(statistics.median, times)
        rows.append(
            {
                "backend": backend.NAME,
                "call": name,
                "milliseconds_per_image": own,
                "reference_milliseconds_per_image": reference,
                "ratio": statistics.median(a / b for a, b in zip(*times)),
                "all_milliseconds_per_image": times,
            }
        )
    return rows


def contenders(args: argparse.Namespace) -> dict[str, tuple[Callable[[], Any], Callable[[], Any]]]:
    """Pairs of calls by name: what a user of Keras writes, and its reference."""
    from keras import ops

    from coda_keras import (
        CoDANet,
        ConfusionAccuracy,
        OneVsAllCrossentropy,
        backend,
        explain_dataset,
        unchecked,
    )
    from coda_keras.data.batches import TrainBatches

    if backend.NAME == "tensorflow":
        from coda_keras.data import tf_batches as batches
    else:
        from coda_keras.data import numpy_batches as batches
    rng = np.random.default_rng(0)
    size, count = args.batch_size, args.batch_size * args.steps
    pixels = rng.integers(0, 256, (count, SIZE, SIZE, 3)).astype("uint8")
    labels = rng.integers(0, CLASSES, count).astype("int32")
    images = pixels.astype("float32") / 255
    parts = [images[start : start + size] for start in range(0, count, size)]
    net = CoDANet.from_preset("s_coda", rank_scale=args.rank_scale)
    net.compile()
    other = CoDANet.from_preset("s_coda", rank_scale=args.rank_scale)
    metrics = [ConfusionAccuracy(CLASSES)]
    other.compile("adam", OneVsAllCrossentropy(), metrics=metrics, jit_compile=backend.use_xla())
    train = TrainBatches(pixels, labels, size, 10_000)
    tests = batches.test_batches(pixels, labels, size)
    forward = backend.compiled(net, net)
    compiled = backend.jit(lambda batch: maps(net.explain(batch)), net)

    def maps(explanation):
        return {name: getattr(explanation, name) for name in FIELDS}

    def fit():
        net.fit(images, labels, size, verbose=0)

    def predict():
        net.predict(images, size, verbose=0)

    def fit_as_recipes():
        endless = batches.train_batches(train)
        other.fit(endless, steps_per_epoch=args.steps, shuffle=False, verbose=0)

    def explain():
        for batch in parts:
            net.explain(batch).numpy()

    def explain_compiled():
        for batch in parts:
            for value in compiled(ops.convert_to_tensor(batch)).values():
                ops.convert_to_numpy(value)

    def unlooked(call):
        with unchecked():
            call()

    return {
        "fit": (fit, fit_as_recipes),
        "evaluate": (
            lambda: net.evaluate(images, labels, size, verbose=0),
            lambda: other.evaluate(tests, verbose=0),
        ),
        "predict": (predict, lambda: other.predict(tests, verbose=0)),
        "bare predict": (
            predict,
            lambda: [ops.convert_to_numpy(forward(batch)) for batch in parts],
        ),
        "explain": (explain, explain_compiled),
        "explain_dataset": (
            lambda: list(explain_dataset(net, parts, progress=False)),
            explain_compiled,
        ),
        "check of fit": (fit, lambda: unlooked(fit)),
        "check of predict": (predict, lambda: unlooked(predict)),
    }


def main() -> None:
    args = parse()
    if args.here:
        print(json.dumps(measure(args)))
        return
    record = json.loads(args.output.read_text()) if args.output and args.output.exists() else {}
    flags = [
        *("--rank-scale", args.rank_scale, "--batch-size", args.batch_size),
        *("--steps", args.steps, "--repetitions", args.repetitions),
    ]
    for name in args.backends:
        done = subprocess.run(
            [sys.executable, __file__, "--here", *map(str, flags)],
            env={**os.environ, "KERAS_BACKEND": name, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        rows = json.loads(done.stdout.splitlines()[-1])
        record[name] = {**conditions(args), "results": rows}
        if args.output:
            write_json(args.output, record)
        print("\n".join(table(rows)), flush=True)


def conditions(args: argparse.Namespace) -> dict[str, Any]:
    """What the figures depend on: arguments, code, packages, machine and its other load."""
    return {
        "arguments": provenance.plain(vars(args)),
        "commit": provenance.commit(ROOT),
        "uncommitted": provenance.uncommitted(ROOT, "coda_keras", "benchmarks/fit.py"),
        "versions": provenance.versions(("coda-keras", *BACKENDS, "keras", "numpy")),
        "hardware": provenance.hardware(),
        "load_average": os.getloadavg(),
        "finished": provenance.now(),
    }


def table(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The lines of a table in Markdown."""
    head = ["backend", "call", "ms per image", "reference", "ratio"]
    return markdown_table(
        head,
        [
            [
                row["backend"],
                row["call"],
                f"{row['milliseconds_per_image']:.2f}",
                f"{row['reference_milliseconds_per_image']:.2f}",
                f"{row['ratio']:.2f}",
            ]
            for row in rows
        ],
    )


if __name__ == "__main__":
    main()
