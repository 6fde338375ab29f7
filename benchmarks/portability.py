"""Exported nets in their runtimes beside Keras: differences, residuals, times, sizes of files.

    make portability

writes benchmarks/results/portability.json. The net that ships answers test images of CIFAR-10, 50
of them in Node, which runs onnxruntime-web by WebAssembly in one thread, as browsers do; untrained
M-, L- and XL-CoDAs (Table C.1) answer four, one by one. Differences are of every image over the
largest magnitude of that image, and the largest of all images is kept: of runtimes to Keras in
float32, of Keras in float32 to Keras in float64. To classify is timed on files of logits and
probabilities alone, to explain on those of everything; the median call counts.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from coda_keras.utils import extras, provenance
from coda_keras.utils.command_line import Parser, command, positive_int, positive_number
from coda_keras.utils.files import write_json
from coda_keras.utils.text import markdown_table

ROOT = Path(__file__).resolve().parents[1]
# Nets by name, and the batches of which they are timed.
SHIPPED = {"s_coda_quarter_cifar10": (1, 64)}
PRESETS = {"m_coda": (), "l_coda": (1,), "xl_coda": ()}
PRESET_IMAGES, NODE_IMAGES = 4, 50
PACKAGES = {"onnx": "onnxruntime", "openvino": "openvino", "litert": "ai-edge-litert"}
NAMES = {"onnx": "onnxruntime", "openvino": "OpenVINO", "litert": "LiteRT"}
SCORES = ("logits", "probabilities")
# Where the Makefile has npm install onnxruntime-web.
NODE = Path(sys.prefix, "node/node_modules")


@command
def main(arguments: Sequence[str] | None = None, prog: str | None = None) -> None:
    args = parse(arguments, prog)
    from coda_keras.data.tf_batches import load_tfds

    started = provenance.now()
    data = load_tfds("cifar10", args.data).limit(test=args.images)
    images, rows = np.asarray(data.test_images, "float32") / 255, []
    for name in SHIPPED if args.small else (*SHIPPED, *PRESETS):
        with tempfile.TemporaryDirectory() as folder:
            rows += measured(args, Path(folder), name, images)
    print(*table(rows), sep="\n")
    packages = ("tensorflow", "keras", "numpy", *PACKAGES.values())
    record = {
        "arguments": {"images": args.images, "seconds": args.seconds},
        "started": started,
        "finished": provenance.now(),
        "hardware": provenance.hardware(),
        "commit": provenance.commit(ROOT),
        "versions": {**provenance.versions(packages), "onnxruntime-web": node_version()},
        "results": rows,
    }
    write_json(args.output, record)


def measured(args: Any, folder: Path, name: str, images: np.ndarray) -> Iterator[dict]:
    """A row for Keras and for every runtime that is installed, whose files the folder gets."""
    from coda_keras_export import parity, runtimes

    import coda_keras
    from coda_keras.exporting.formats import FORMATS
    from coda_keras.layers.configs import in_dtype

    if name in PRESETS:
        import keras

        keras.utils.set_random_seed(0)
        net, batches, count = coda_keras.CoDANet.from_preset(name), PRESETS[name], 1
        images = enlarged(images[:PRESET_IMAGES], net.image_size[0])
    else:
        net, batches, count = coda_keras.load_model(name), SHIPPED[name], 50
    parts = [images[i : i + count] for i in range(0, len(images), count)]
    right = joined(parity.expected(net, part) for part in parts)
    precise = type(net).from_config(in_dtype(net.get_config(), "float64"))
    precise.set_weights(net.get_weights())
    exact = joined(parity.expected(precise, part.astype("float64")) for part in parts)

    def row(runtime, explain, classify, path, answer, expected=right):
        count = len(answer["logits"])
        expected = {key: value[:count] for key, value in expected.items()}
        return {
            "net": name,
            "runtime": runtime,
            "images": count,
            "differences": parity.differences(answer, expected),
            "milliseconds": {str(batch): [classify(batch), explain(batch)] for batch in batches},
            "bytes": _size(path) if path else None,
        }

    def timed(run):
        return lambda batch: milliseconds(run, np.resize(images, (batch, *images.shape[1:])), args)

    predict = graph_of(net)
    yield row("Keras", timed(lambda x: net.explain(x).numpy()), timed(predict), None, right, exact)
    for format in runtimes.RUNTIMES:
        if extras.missing(format):
            continue
        path = folder / f"explain{FORMATS[format].suffix}"
        small = folder / f"classify{FORMATS[format].suffix}"
        net.export(path, format=format)
        if batches:
            net.export(small, format=format, outputs=SCORES)
        run, scores = runtimes.load(path, format), runtimes.load(small, format) if batches else None

        def explain(x, run=run):
            return run(images=x, target_class_ids=np.full(len(x), -1, "int32"))

        answer = joined(explain(part) for part in parts)
        classify = timed(lambda x, scores=scores: scores(images=x))
        yield row(NAMES[format], timed(explain), classify, path, answer)
        if format == "onnx" and node_packages():
            few = images[:NODE_IMAGES]

            def node(batch, file, ids):
                given = np.resize(images, (batch, *images.shape[1:]))
                times = in_node(file, given, batch, args.seconds, ids)[1]
                return float(np.median(times)) / batch

            answer, _ = in_node(path, few, min(count, 10))
            yield row(
                "onnxruntime-web in Node",
                partial(node, file=path, ids=-1),
                partial(node, file=small, ids=None),
                path,
                answer,
            )


def _size(path):
    # OpenVINO has the weights in a file of their own.
    files = {path, path.with_suffix(".bin")} if path.suffix == ".xml" else {path}
    return sum(file.stat().st_size for file in files)


def graph_of(net: Any) -> Callable[[np.ndarray], Any]:
    """Logits and probabilities by compiled code of Keras on TensorFlow."""
    import tensorflow as tf

    @tf.function
    def classify(x):
        logits = net(x)
        return logits, tf.sigmoid(logits)

    return lambda x: [tensor.numpy() for tensor in classify(tf.convert_to_tensor(x))]


def milliseconds(run: Callable[[np.ndarray], Any], images: np.ndarray, args: Any) -> float:
    """The median time of an image, after two calls that are not timed."""
    run(images), run(images)
    times, end = [], time.perf_counter() + args.seconds
    while time.perf_counter() < end or len(times) < 3:
        begin = time.perf_counter()
        run(images)
        times.append(time.perf_counter() - begin)
    return 1e3 * float(np.median(times)) / len(images)


def enlarged(images: np.ndarray, size: int) -> np.ndarray:
    """Images in another size, by whole pixels."""
    index = np.arange(size) * images.shape[1] // size
    return images[:, index][:, :, index]


def joined(answers: Any) -> dict[str, np.ndarray]:
    """Arrays of several batches, by name."""
    answers = list(answers)
    return {
        name: np.concatenate([answer[name] for answer in answers])
        for name, value in answers[0].items()
        if np.ndim(value)
    }


def node_packages() -> Path | None:
    """The folder with onnxruntime-web, or None if it or Node is not installed."""
    return NODE if shutil.which("node") and (NODE / "onnxruntime-web").is_dir() else None


def node_version() -> str | None:
    """The version of onnxruntime-web, or None if it or Node is not installed."""
    if node_packages() is None:
        return None
    return json.loads((NODE / "onnxruntime-web/package.json").read_text("utf-8"))["version"]


def in_node(
    path: Path,
    images: np.ndarray,
    batch: int,
    seconds: float = 0,
    ids: int | list[int] | None = -1,
) -> tuple[dict[str, np.ndarray], list[float]]:
    """Runs an ONNX file in Node.

    Args:
        path: of the file.
        images: `(B, H, W, 3)`.
        batch: images of a call.
        seconds: for which the first batch is repeated, to time it.
        ids: the class to explain, or one for each image of the only batch; None to leave it out.

    Returns:
        The outputs by name, and the milliseconds of the repeated calls.

    Raises:
        ChildProcessError: with the words of onnxruntime-web, if it refuses the inputs.
    """
    with tempfile.TemporaryDirectory() as folder:
        images.astype("float32").tofile(Path(folder, "images"))
        job = {
            "packages": str(NODE),
            "model": str(path),
            "images": str(Path(folder, "images")),
            "shape": images.shape[1:],
            "batch": batch,
            "seconds": seconds,
            "ids": ids,
            "outputs": folder,
        }
        script = ROOT / "benchmarks/node/run_onnx.mjs"
        done = subprocess.run(["node", script, json.dumps(job)], capture_output=True, text=True)
        if done.returncode:
            raise ChildProcessError(f"Node ended with {done.returncode}: {done.stderr[-1500:]}")
        told = json.loads(done.stdout)
        answer = {
            name: np.fromfile(
                Path(folder, f"{name}.bin"), "int32" if name == "class_ids" else "float32"
            ).reshape(-1, *shape)
            for name, shape in told["shapes"].items()
        }
    return answer, told["milliseconds"]


def table(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The lines of a table in Markdown."""
    head = ["net", "runtime", "images", "logits", "contributions", "residual", "same class"]
    head += ["classify, explain: ms at batch 1", "at batch 64", "MB"]
    return markdown_table(head, [_cells(row) for row in rows])


def _cells(row):
    found = row["differences"]
    times = [row["milliseconds"].get(batch) for batch in ("1", "64")]
    return [
        f"`{row['net']}`",
        row["runtime"],
        f"{row['images']:,}",
        *(f"{found[name]:.1e}" if name in found else "" for name in ("logits", "contributions")),
        f"{found['residual']:.1e}",
        f"{1 - found['class_ids']:.1%}" if "class_ids" in found else "",
        *(f"{one[0]:.3g}, {one[1]:.3g} ({one[1] / one[0]:.1f}x)" if one else "" for one in times),
        f"{row['bytes'] / 1e6:.1f}" if row["bytes"] else "",
    ]


def parse(arguments: Sequence[str] | None, prog: str | None) -> Any:
    parser = Parser(prog=prog, description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="JSON file of the results")
    parser.add_argument("--data", help="folder of prepared data sets")
    parser.add_argument("--images", type=positive_int, default=1000, help="default: 1000")
    parser.add_argument(
        "--seconds", type=positive_number, default=1.0, help="of every timing (%(default)s)"
    )
    parser.add_argument("--small", action="store_true", help="without the presets")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
