"""What users wait for: the digits recipe and the demo by their parts, a training beside its steps.

    python benchmarks/waiting.py digits --output benchmarks/results/waiting.json
    python benchmarks/waiting.py digits --root ../before --state before --output ...

`--root` is a checkout of this repository with an environment in .venv, this one unless told
otherwise, and `--state` what the results call it; results of other states are kept. Weights of the
same SHA-256 have the same bits.

digits      recipes/digits.py: until the first epoch begins, the epochs, what is left at the end
demo        recipes/demo.py in an empty folder: until the photographs are explained, and in all
training    a net of CIFAR-10's size (ranks / 8) on random images: the share of `fit` that
            callbacks take, and how long the pictures of TensorBoard take
"""

import argparse
import hashlib
import io
import json
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from coda_keras.utils import provenance
from coda_keras.utils.command_line import positive_int
from coda_keras.utils.files import write_json
from coda_keras.utils.text import markdown_table

ROOT = Path(__file__).resolve().parents[1]
# What the table shows, by the names of the results.
SHOWN = {
    ("demo", "photographs_seconds"): "demo: seconds until the photographs are explained",
    ("demo", "seconds"): "demo: seconds in all",
    ("digits", "until_training_seconds"): "digits: seconds until the first epoch",
    ("digits", "epochs_seconds"): "digits: seconds of its epochs",
    ("digits", "end_seconds"): "digits: seconds for what it leaves",
    ("digits", "seconds"): "digits: seconds in all",
    ("training", "share_of_steps_and_tests"): "training: time in steps and tests",
}
# What the demo prints once the photographs' maps are there.
EXPLAINED = "Their contribution maps"


def main() -> None:
    args = parse()
    if args.child:
        print(json.dumps(train(args.images, args.epochs)))
        return
    root = args.root.resolve()
    python = Path(sys.executable) if root == ROOT else root / ".venv/bin/python"
    for what in args.what:
        with tempfile.TemporaryDirectory() as folder:
            measured = MEASUREMENTS[what](root, python, Path(folder), args)
        row = {"what": what, "state": args.state, **measured}
        row["commit"] = provenance.commit(root)
        row["load_average"] = os.getloadavg()
        old = json.loads(args.output.read_text())["results"] if args.output.exists() else []
        record = {
            "results": [r for r in old if (r["what"], r["state"]) != (what, args.state)] + [row],
            "versions": provenance.versions(),
            "hardware": provenance.hardware(),
        }
        write_json(args.output, record)
        print(*table(record["results"]), sep="\n", flush=True)


def table(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The lines of a table in Markdown: what was measured, in every state."""
    states = sorted({row["state"] for row in rows}, reverse=True)
    found = {(row["what"], row["state"]): row for row in rows}
    lines = []
    for (what, key), text in SHOWN.items():
        cells = (found.get((what, state), {}).get(key) for state in states)
        written = "{:.0%}" if key.startswith("share") else "{:.0f}"
        lines.append([text, *("" if cell is None else written.format(cell) for cell in cells)])
    return markdown_table(["", *states], lines)


def digits(root: Path, python: Path, folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Seconds of the recipe by its parts, and what it leaves."""
    line = [python, "-u", root / "recipes/digits.py", "--output", folder / "run"]
    times = {}
    for seconds, text in lines(line, folder):
        if text.startswith("Epoch 1/"):
            times["until_training_seconds"] = seconds
        elif "val_accuracy" in text:
            times["trained"] = seconds
        times["seconds"] = seconds
    trained = times.pop("trained")
    metrics = json.loads((folder / "run/metrics.json").read_text())
    files = {str(path.relative_to(folder / "run")) for path in (folder / "run").rglob("*")}
    return {
        **times,
        "epochs_seconds": trained - times["until_training_seconds"],
        "end_seconds": times["seconds"] - trained,
        "epochs": len(metrics["history"]),
        "test_accuracy": metrics["test_accuracy"],
        "weights_sha256": digest(folder / "run/model.keras"),
        "files": sorted(name for name in files if "tfevents" not in name),
    }


def demo(root: Path, python: Path, folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Seconds until the photographs are explained, and in all."""
    times = {}
    for seconds, text in lines([python, "-u", root / "recipes/demo.py"], folder):
        if text.startswith(EXPLAINED):
            times["photographs_seconds"] = seconds
        times["seconds"] = seconds
    return times


def training(root: Path, python: Path, folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """What `train` measures in a process of the checkout."""
    line = [python, "-u", Path(__file__).resolve(), "training", "--child"]
    line += ["--images", str(args.images), "--epochs", str(args.epochs)]
    *_, (_, last) = lines(line, folder)
    return json.loads(last)


MEASUREMENTS: dict[str, Callable[..., dict[str, Any]]] = {
    "digits": digits,
    "demo": demo,
    "training": training,
}


def lines(command: list[Any], folder: Path) -> Iterator[tuple[float, str]]:
    """The lines that a command prints, and the seconds since it began; the last is its end."""
    begin = time.perf_counter()
    text = ""
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        for text in process.stdout or ():
            yield time.perf_counter() - begin, text
    if process.returncode:
        raise SystemExit(f"{command} failed with exit code {process.returncode}.")
    yield time.perf_counter() - begin, text


def digest(path: Path) -> str:
    """SHA-256 of all weights in a `.keras` file, in the order of their names."""
    import h5py

    arrays = {}

    def keep(name, item):
        if isinstance(item, h5py.Dataset):
            arrays[name] = item[()]

    with zipfile.ZipFile(path) as archive:
        content = io.BytesIO(archive.read("model.weights.h5"))
    with h5py.File(content) as weights:
        weights.visititems(keep)
    whole = hashlib.sha256()
    for name in sorted(arrays):
        whole.update(name.encode() + np.ascontiguousarray(arrays[name]).tobytes())
    return whole.hexdigest()


def train(images: int, epochs: int) -> dict[str, float]:
    """Trains a net of CIFAR-10's size, and measures what of it is neither steps nor tests."""
    import keras
    from coda_keras_recipes import training_run

    from coda_keras import training
    from coda_keras.data.images import ImageData

    class Timed(keras.callbacks.Callback):
        """Counts the time of another callback."""

        def __init__(self, inner):
            super().__init__()
            self.inner, self.seconds = inner, []

        def set_params(self, params):
            self.inner.set_params(params)

        def set_model(self, model):
            self.timed(self.inner.set_model, model)

        def on_train_begin(self, logs=None):
            self.timed(self.inner.on_train_begin, logs)

        def on_epoch_begin(self, epoch, logs=None):
            self.timed(self.inner.on_epoch_begin, epoch, logs)

        def on_test_begin(self, logs=None):
            self.timed(self.inner.on_test_begin, logs)

        def on_test_end(self, logs=None):
            self.timed(self.inner.on_test_end, logs)

        def on_epoch_end(self, epoch, logs=None):
            self.timed(self.inner.on_epoch_end, epoch, logs)

        def on_train_end(self, logs=None):
            self.timed(self.inner.on_train_end, logs)

        def timed(self, hook, *arguments):
            begin = time.perf_counter()
            hook(*arguments)
            self.seconds.append(time.perf_counter() - begin)

    values = np.random.default_rng(0)
    labels = values.integers(0, 10, images, "int32")
    pictures = values.integers(0, 256, (images, 32, 32, 3), "uint8")
    names = [str(label) for label in range(10)]
    data = ImageData(pictures, labels, pictures[: images // 5], labels[: images // 5], names)
    with tempfile.TemporaryDirectory() as folder:
        settings = training.Settings(
            preset="s_coda",
            rescale="squash",
            precision="float32",
            rank_scale=0.125,
            temperature=1000.0,
            epochs=epochs,
            batch_size=64,
            output=Path(folder) / "run",
        )
        devices = training.start(settings)
        boards = []

        def callbacks(settings, net, data):
            boards.extend(Timed(board) for board in training_run.boards(settings, net, data))
            return boards

        build, augment = training_run.coda_net, training_run.augmentation(settings, padding=4)
        begin = time.perf_counter()
        training.train(settings, devices, build, data, augment, callbacks)
        seconds = time.perf_counter() - begin
    beside = sum(sum(board.seconds) for board in boards)
    return {
        "seconds": seconds,
        "images": float(images),
        "epochs": float(epochs),
        "pictures_seconds": beside,
        "share_of_steps_and_tests": 1 - beside / seconds,
    }


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="+", choices=MEASUREMENTS)
    parser.add_argument("--root", type=Path, default=ROOT, help="checkout; default: this one")
    parser.add_argument("--state", default="after", help="its name in the results; default: after")
    parser.add_argument("--output", type=Path, help="JSON file of the results")
    parser.add_argument(
        "--images", type=positive_int, default=6400, help="of `training`; default: 6400"
    )
    parser.add_argument("--epochs", type=positive_int, default=3, help="of it; default: 3")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if not args.output and not args.child:
        parser.error("--output is needed")
    return args


if __name__ == "__main__":
    main()
