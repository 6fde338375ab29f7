"""Times every DAU layer of a network, and the network, against the arithmetic that it takes.

    python benchmarks/floor.py --rank-scale 0.125 --batch-size 64 \\
        --output benchmarks/results/floor_eighth.json

The floor of a forward pass is 2 floating-point operations for each of its multiply-adds, over the
rate of a large matrix product on the same machine, in the same precision and with the same kernels.
Counted are the multiply-adds of the two convolutions, by B and by A' (`r + 1` columns a unit, the
bias among them); not those of the norm and of the products with z', which come on top. A training
step has a floor of 3 forward passes, an explanation that of 2. Layers are timed one by one, without
the optimiser, the first one without the gradient for its input; the network with Adam.

--kernels says what TensorFlow computes by: `native`, what it chooses here; `avx2` and `sse41`,
oneDNN held to AVX2 and to SSE4.1; `avx2-eigen`, TensorFlow's own kernels, with AVX2, which it
chooses by itself on processors without AVX-VNNI, AVX512-VNNI and the like. So other processors can
be imitated, in part.
"""

import argparse
import math
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from coda_keras.utils.text import markdown_table

KERNELS = {
    "native": {},
    "avx2": {"ONEDNN_MAX_CPU_ISA": "AVX2"},
    "sse41": {"ONEDNN_MAX_CPU_ISA": "SSE41"},
    "avx2-eigen": {"ONEDNN_MAX_CPU_ISA": "AVX2", "TF_ENABLE_ONEDNN_OPTS": "0"},
}
PRECISIONS = ("float32", "mixed_bfloat16")
ROOT = Path(__file__).resolve().parents[1]
# How often each operation does the arithmetic of a forward pass.
PASSES = {"forward": 1, "train": 3, "explain": 2}


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--preset", default="s_coda", help="default: %(default)s")
    parser.add_argument("--rank-scale", type=float, default=1.0, help="default: %(default)s")
    parser.add_argument("--batch-size", type=int, default=16, help="default: %(default)s")
    parser.add_argument("--precision", choices=PRECISIONS, default="float32")
    parser.add_argument("--kernels", choices=tuple(KERNELS), default="native")
    parser.add_argument(
        "--repetitions", type=int, default=10, help="timed calls of each, of which the best counts"
    )
    parser.add_argument("--output", type=Path, required=True, help="JSON file of the results")
    args = parser.parse_args(arguments)
    if not args.output.parent.is_dir():
        parser.error(f"--output: there is no folder {args.output.parent}")
    return args


def best_milliseconds(functions: dict[str, Callable], repetitions: int) -> dict[str, float]:
    """The shortest of the timed calls of every function, which take turns."""
    for function in functions.values():
        function(), function()
    best = dict.fromkeys(functions, float("inf"))
    for _ in range(repetitions):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            best[name] = min(best[name], 1000 * (time.perf_counter() - start))
    return best


def product_rate(dtype: str, size: int = 2048, repetitions: int = 30) -> float:
    """Floating-point operations a second of the product of two square matrices, at best."""
    import tensorflow as tf

    matrix = tf.cast(tf.random.normal((size, size)), dtype)
    product = tf.function(tf.matmul, autograph=False)
    best = best_milliseconds({"product": lambda: product(matrix, matrix).numpy()}, repetitions)
    return 2 * size**3 / (best["product"] / 1000)


def multiply_adds(net: Any) -> dict[str, int]:
    """Those of both convolutions of every DAU layer, for an image; by the names of the layers."""
    shape, counts = (None, *net.image_size, 6), {}
    for layer in net.body:
        shape = layer.compute_output_shape(shape)
        if hasattr(layer, "rank"):
            depth = math.prod(layer.kernel.shape[:3])
            outputs = layer.rank + (layer.rank + layer.use_bias) * layer.filters
            counts[layer.name] = shape[1] * shape[2] * depth * outputs
    return counts


def floor_milliseconds(net: Any, operation: str, rate: float) -> float:
    """The floor of an operation of the network, for an image."""
    return 2 * PASSES[operation] * sum(multiply_adds(net).values()) / rate * 1000


def rows(args: argparse.Namespace, rate: float) -> list[dict[str, object]]:
    """A row for every operation of every layer and of the network."""
    import numpy as np
    import tensorflow as tf
    from contender import build, operation

    from coda_keras.layers.encoding import encode

    net = build(args.preset, args.rank_scale, None, "factored", args.precision)
    random = np.random.default_rng(0)
    images = tf.constant(random.uniform(size=(args.batch_size, *net.image_size, 3)), "float32")
    labels = tf.constant(random.integers(0, net.classes, size=args.batch_size))
    functions, counts, values = {}, multiply_adds(net), encode(images)
    for number, layer in enumerate(net.body, start=1):
        inputs = tf.cast(values, layer.compute_dtype)
        values = layer(inputs)
        for name in PASSES if layer.name in counts else ():
            run = layer_operation(layer, name, input_gradient=number > 1)
            functions[layer.name, name] = _call(run, inputs, values)
    counts[net.name] = sum(counts.values())
    for name in PASSES:
        functions[net.name, name] = _call(operation(net, name, "graph"), images, labels)
    # A forward pass, and one back for every class.
    every = tf.function(lambda images: net.explain(images, "all").contribution_map, autograph=False)
    functions[net.name, "explain all"] = _call(every, images)
    passes = {**PASSES, "explain all": 1 + net.classes}
    best = best_milliseconds(functions, args.repetitions)
    made = []
    for (part, name), milliseconds in best.items():
        floor = 2 * passes[name] * counts[part] / rate * 1000
        taken = milliseconds / args.batch_size
        made.append(
            {
                "part": part,
                "operation": name,
                "multiply_adds_per_image": counts[part],
                "milliseconds_per_image": taken,
                "floor_milliseconds_per_image": floor,
                "ratio": taken / floor,
            }
        )
    return made


def table(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The lines of a table in Markdown: milliseconds per image, and how often the floor."""
    operations = list(dict.fromkeys(row["operation"] for row in rows))
    lines = []
    for part in dict.fromkeys(row["part"] for row in rows):
        found = {row["operation"]: row for row in rows if row["part"] == part}
        cells = (
            f"{row['milliseconds_per_image']:.3g} ({row['ratio']:.2f})" if row else ""
            for row in map(found.get, operations)
        )
        count = next(iter(found.values()))["multiply_adds_per_image"]
        lines.append([part, f"{count / 1e6:.1f}", *cells])
    return markdown_table(["milliseconds per image (times the floor)", "10^6", *operations], lines)


def layer_operation(layer: Any, name: str, input_gradient: bool) -> Callable:
    """A compiled function of a layer's inputs and a cotangent of its outputs."""
    import tensorflow as tf

    def run(inputs, cotangent):
        if name == "forward":
            return layer(inputs)
        if name == "explain":
            outputs, pullback = layer.linearize(inputs)
            return outputs, pullback(cotangent)
        sources = [variable.value for variable in layer.trainable_variables]
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = layer(inputs)
        sources += [inputs] if input_gradient else []
        return tape.gradient(outputs, sources, output_gradients=cotangent)

    return tf.function(run, autograph=False)


def _call(function, *arguments):
    import tensorflow as tf

    # Of whatever is returned one tensor is waited for, and so everything.
    return lambda: tf.nest.flatten(function(*arguments))[-1].numpy()


def main() -> None:
    args = parse()
    # TensorFlow reads them when it is imported.
    os.environ.update(KERAS_BACKEND="tensorflow", **KERNELS[args.kernels])
    from coda_keras.utils import provenance
    from coda_keras.utils.files import write_json

    dtype = "bfloat16" if args.precision == "mixed_bfloat16" else "float32"
    load = os.getloadavg()
    # More often than the others: its best counts for all of them.
    count = 3 * args.repetitions
    rate = product_rate(dtype, repetitions=count)
    made = rows(args, rate)
    rate_after = product_rate(dtype, repetitions=count)
    print(
        f"{args.kernels}, {args.precision}: {rate / 1e9:.0f} GFLOP/s ({rate_after / 1e9:.0f} after)"
    )
    print(*table(made), sep="\n")
    record = {
        **provenance.record(vars(args)),
        "commit": provenance.commit(ROOT),
        "uncommitted": provenance.uncommitted(ROOT, "coda_keras", "benchmarks/floor.py"),
        "environment": KERNELS[args.kernels],
        "load_average": load,
        "product_gflops": [rate / 1e9, rate_after / 1e9],
        "results": made,
    }
    write_json(args.output, record)
    print(f"Wrote {args.output}")


if __name__ == "__main__":
    main()
