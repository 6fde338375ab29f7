"""Times both implementations of the DAU layer against each other, in whole networks.

    python benchmarks/layers.py --preset s_coda --output benchmarks/results/s_coda.json

For each precision and mode (graph, or compiled by XLA) it times the forward pass, a training step
(forward, backward, Adam) and the forward pass with the contribution map of the predicted class.
The implementations take turns, so that whatever else slows the machine down meets both.

Memory is measured in a fresh process for each: how far its peak rose from the built network to
three calls later (resident set on the CPU, allocator on a GPU), compilation included. Beside it
stands what a position of Algorithm 1 must hold against the factored form, `f d` or `f (r + 1)`
floats, summed over the layers.
"""

import argparse
import concurrent.futures
import json
import multiprocessing
import os
import re
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["KERAS_BACKEND"] = "tensorflow"
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import keras
import numpy as np
import tensorflow as tf

from coda_keras import PRESETS, CoDANet, OneVsAllCrossentropy, provenance
from coda_keras.files import write_json

IMPLEMENTATIONS = ("factored", "patches")
OPERATIONS = ("forward", "train", "explain")
MODES = ("graph", "xla")
PRECISIONS = ("float32", "mixed_bfloat16")
WARM_UP = 2


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--preset", choices=sorted(PRESETS), default="s_coda")
    parser.add_argument("--rank-scale", type=float, default=1.0, help="default: %(default)s")
    parser.add_argument("--image-size", type=_positive, help="default: the preset's")
    parser.add_argument("--batch-size", type=_positive, default=16, help="default: %(default)s")
    parser.add_argument(
        "--repetitions", type=_positive, default=10, help="timed calls of each; default: 10"
    )
    parser.add_argument("--operations", nargs="+", choices=OPERATIONS, default=OPERATIONS)
    parser.add_argument("--modes", nargs="+", choices=MODES, default=MODES)
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=PRECISIONS[:1])
    parser.add_argument("--no-memory", action="store_true", help="times only, no fresh processes")
    parser.add_argument("--output", type=Path, required=True, help="JSON file of the results")
    args = parser.parse_args(arguments)
    if not args.output.parent.is_dir():
        parser.error(f"--output: there is no folder {args.output.parent}")
    return args


def _positive(text):
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a positive integer, got {text}")
    return number


def build(args: argparse.Namespace, precision: str, implementation: str) -> CoDANet:
    """Builds the net with the same seeded weights for every implementation."""
    keras.utils.set_random_seed(0)
    return CoDANet.from_preset(
        args.preset,
        rank_scale=args.rank_scale,
        image_size=args.image_size,
        implementation=implementation,
        # The difference between implementations should not drown in a constant.
        logit_bias=0.0,
        dtype=precision,
    )


def operation(net: CoDANet, name: str, mode: str) -> Callable:
    """Returns a compiled function of `(images, labels)` that runs the operation once."""
    if name == "train":
        loss_function = OneVsAllCrossentropy()
        optimizer = keras.optimizers.Adam(1e-4)
        optimizer.build(net.trainable_variables)

    def run(images, labels):
        if name == "forward":
            return net(images)
        if name == "explain":
            return net.explain(images).contribution_map
        with tf.GradientTape() as tape:
            loss = loss_function(labels, net(images, training=True))
        gradients = tape.gradient(loss, [v.value for v in net.trainable_variables])
        optimizer.apply(gradients, net.trainable_variables)
        return loss

    return tf.function(run, jit_compile=mode == "xla", autograph=False)


def batch(args: argparse.Namespace, net: CoDANet) -> tuple[tf.Tensor, tf.Tensor]:
    rng = np.random.default_rng(0)
    images = rng.uniform(size=(args.batch_size, *net.image_size, 3)).astype("float32")
    labels = rng.integers(0, net.classes, size=args.batch_size)
    return tf.constant(images), tf.constant(labels)


def measure_times(
    args: argparse.Namespace, precision: str, mode: str, name: str
) -> tuple[dict[str, list[float]], float]:
    """Milliseconds per image of every repetition, the implementations taking turns."""
    nets = {i: build(args, precision, i) for i in IMPLEMENTATIONS}
    inputs = batch(args, nets["factored"])
    functions = {i: operation(net, name, mode) for i, net in nets.items()}
    results, times = {}, {i: [] for i in IMPLEMENTATIONS}
    for implementation, function in functions.items():
        for _ in range(WARM_UP):
            results[implementation] = function(*inputs).numpy()
    for repetition in range(args.repetitions):
        for implementation in IMPLEMENTATIONS[:: 1 if repetition % 2 else -1]:
            start = time.perf_counter()
            functions[implementation](*inputs).numpy()
            elapsed = time.perf_counter() - start
            times[implementation].append(1000 * elapsed / args.batch_size)
    scale = np.max(np.abs(results["patches"]))
    difference = np.max(np.abs(results["factored"] - results["patches"])) / scale
    return times, float(difference)


def measure_memory(
    args: argparse.Namespace, precision: str, mode: str, name: str, implementation: str
) -> float:
    """MiB by which the peak rises over three calls. For a process of its own."""
    net = build(args, precision, implementation)
    inputs = batch(args, net)
    before = _peak_mib()
    function = operation(net, name, mode)
    for _ in range(3):
        function(*inputs).numpy()
    return _peak_mib() - before


def _peak_mib():
    if tf.config.list_physical_devices("GPU"):
        return tf.config.experimental.get_memory_info("GPU:0")["peak"] / 2**20
    # Unlike getrusage's figure this one does not start from the parent's.
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024


def intermediate_mib(args: argparse.Namespace, precision: str) -> dict[str, float]:
    """MiB that w(x) and the factored form's `A'^T p` take for a batch, over all layers."""
    net = build(args, precision, "factored")
    size = 2 if precision == "mixed_bfloat16" else 4
    totals = dict.fromkeys(IMPLEMENTATIONS, 0)
    shape = (args.batch_size, *net.image_size, 6)
    for layer in net.body:
        depth = layer.kernel_size**2 * shape[-1]
        shape = layer.compute_output_shape(shape)
        units = np.prod(shape)
        totals["patches"] += units * depth * size / 2**20
        totals["factored"] += units * (layer.rank + 1) * size / 2**20
    return {name: float(total) for name, total in totals.items()}


def measure(args: argparse.Namespace, precision: str, mode: str, name: str) -> dict[str, object]:
    times, difference = measure_times(args, precision, mode, name)
    medians = {i: statistics.median(times[i]) for i in IMPLEMENTATIONS}
    row = {
        "precision": precision,
        "mode": mode,
        "operation": name,
        "milliseconds_per_image": medians,
        "ratio": medians["patches"] / medians["factored"],
        "relative_difference": difference,
        "all_milliseconds_per_image": times,
    }
    if not args.no_memory:
        row["memory_growth_mib"] = {
            i: _in_fresh_process(measure_memory, args, precision, mode, name, i)
            for i in IMPLEMENTATIONS
        }
    return row


def _in_fresh_process(function, *arguments):
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(function, *arguments).result()


def conditions(args: argparse.Namespace) -> dict[str, object]:
    """What the figures depend on: arguments, code, packages, machine and its other load."""
    return {
        "arguments": provenance.plain(vars(args)),
        "commit": provenance.commit(ROOT),
        "uncommitted": provenance.uncommitted(ROOT, "coda_keras", "benchmarks/layers.py"),
        "versions": provenance.versions(("coda-keras", "tensorflow", "keras", "numpy")),
        "hardware": provenance.hardware(),
        "load_average": os.getloadavg(),
        "started": provenance.now(),
    }


HEADER = (
    f"{'precision':15}{'mode':7}{'operation':11}{'factored':>10}{'patches':>10}{'ratio':>7}"
    f"{'factored':>12}{'patches':>10}\n{'':33}{'ms/image':>20}{'':7}{'MiB more':>22}"
)


def line(row: dict[str, object]) -> str:
    times, memory = row["milliseconds_per_image"], row.get("memory_growth_mib")
    text = f"{row['precision']:15}{row['mode']:7}{row['operation']:11}"
    text += f"{times['factored']:10.2f}{times['patches']:10.2f}{row['ratio']:7.2f}"
    return text + (f"{memory['factored']:12.0f}{memory['patches']:10.0f}" if memory else "")


def main():
    args = parse()
    record = conditions(args)
    load = record["load_average"][0]
    if load > 0.5:
        print(f"Something else keeps this machine busy (load {load:.1f}); times will be too long.")
    print(HEADER)
    record["results"] = []
    for precision in args.precisions:
        for mode in args.modes:
            for name in args.operations:
                record["results"].append(measure(args, precision, mode, name))
                print(line(record["results"][-1]), flush=True)
    record["intermediate_mib"] = {p: intermediate_mib(args, p) for p in args.precisions}
    print("w(x) against A'^T p, MiB a batch:", json.dumps(record["intermediate_mib"]))
    write_json(args.output, record)
    print(f"Wrote {args.output}")


if __name__ == "__main__":
    main()
