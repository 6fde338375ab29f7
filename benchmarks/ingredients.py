"""What each ingredient of a faster training is worth: short trainings, the same images for each.

    python benchmarks/ingredients.py --output benchmarks/results/ingredients.json

Trains the small net (all ranks divided by 8) by recipes/cifar10.py with each row of `CANDIDATES` on
10,000 images for 4 epochs, scores it on the 10,000 test images and by 40 grids of 3x3 images, and
records seconds, accuracy and localisation of the own contributions. Results already in the output
file are kept, so that an interrupted search goes on.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from coda_keras import CoDANet, DAUConv2D, training
from coda_keras.data.images import steps_per_epoch
from coda_keras.data.tf_batches import load_tfds
from coda_keras.models.loading import load_model
from coda_keras.training import save_model
from coda_keras.utils import provenance
from coda_keras.utils.files import write_json
from coda_keras.utils.text import markdown_table

ROOT = Path(__file__).resolve().parents[1]

# All test images are for the score; epochs do with a tenth of them.
COMMON = (
    "--batch-size 64 --schedule cosine --precision auto --limit-train 10000 "
    "--learning-rate 4e-3 --limit-test 1000"
)
SMALL = "--rank-scale 0.125 --epochs 4"
RISING = f"{SMALL} --start-temperature 10"
MUON = f"{RISING} --optimizer muon"
# Trainings, each of which begins with the net of the one before; all of 40,000 images, but that
# images that grow get six epochs of 10,000 for about the same time.
CANDIDATES = {
    "Muon, T from 10 to 1000": [MUON],
    "Muon, batches of 256, rate 8e-3": [f"{MUON} --batch-size 256 --learning-rate 8e-3"],
    "Muon, initial values that are aligned": [MUON],
    "Muon, images that grow": [f"{MUON} --grow --epochs 6"],
    "Muon, ranks that grow": [
        f"{MUON} --rank-scale 0.0625 --epochs 2 --rise 1",
        f"{MUON} --start-temperature 1000 --epochs 2",
    ],
    "Muon, flips that alternate": [f"{MUON} --alternate-flip"],
    "Muon, cutout by 8 pixels": [f"{MUON} --cutout 8"],
    "Muon, regularised map, lambda = 1": [f"{MUON} --regularisation 1"],
    "Muon, rate 2e-3": [f"{MUON} --learning-rate 2e-3"],
    "Muon, rate 1.2e-2": [f"{MUON} --learning-rate 1.2e-2"],
    "Adam, T from 10 to 1000": [RISING],
    "Adam, T = 1000": [SMALL],
}
ALIGNED = "Muon, initial values that are aligned"


def main() -> None:
    args = parse()
    data = load_tfds("cifar10", args.data)
    record = json.loads(args.output.read_text()) if args.output.exists() else {"results": []}
    done = {row["candidate"] for row in record["results"]}
    for name in args.candidates:
        if name in done:
            continue
        with tempfile.TemporaryDirectory() as folder:
            row = {"candidate": name, **train(name, Path(folder), args)}
            row["hardware"] = provenance.hardware()
            net = load_model(Path(folder) / str(len(CANDIDATES[name])) / "model.keras")
            scores = training.score(net, data, args.grids, fewer=True)
            if scores.get("grids") != args.grids:
                # Classes with too few confident images make no such grids.
                scores["localisation"] = None
        record["results"].append({**row, **scores})
        record["conditions"] = {
            "commit": provenance.commit(ROOT),
            "versions": provenance.versions(),
            "grids": args.grids,
            "note": data.note,
        }
        write_json(args.output, record)
        print(table(record["results"])[-1], flush=True)


def train(name: str, folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Trains the stages of a candidate into folder/1, folder/2, ...; seconds and images of all."""
    previous, seconds, images, all_flags = None, 0.0, 0, []
    if name == ALIGNED:
        previous = folder / "aligned.keras"
        save_model(aligned(), previous)
    for stage, flags in enumerate(CANDIDATES[name], start=1):
        run, flags = folder / str(stage), f"{COMMON} {flags}".split()
        command = [sys.executable, ROOT / "recipes/cifar10.py", *flags, "--output", run]
        command += ["--initial", previous] if previous else []
        command += ["--data", args.data] if args.data else []
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        metrics = json.loads((run / "metrics.json").read_text())
        used = metrics["arguments"]
        seconds += metrics["training_seconds"]
        batches = steps_per_epoch(used["limit_train"], used["batch_size"])
        images += used["epochs"] * batches * used["batch_size"]
        all_flags.append(flags)
        previous = run / "model.keras"
    about = {"flags": all_flags, "precision": used["precision"]}
    return {**about, "seconds": seconds, "images": images}


def aligned(rank_scale: float = 0.125, seed: int = 0) -> CoDANet:
    """The net with A_j a positive combination of B's rows, as large as it would have been.

    p.w(p) is then positive for every p before anything is learned, but for the bias.
    """
    keras.utils.set_random_seed(seed)
    net = CoDANet.from_preset("s_coda", classes=10, temperature=1000.0, rank_scale=rank_scale)
    net.build((None, 32, 32, 3))
    random = np.random.default_rng(seed)
    for layer in net.body:
        if isinstance(layer, DAUConv2D):
            projection, kernel, *bias = layer.get_weights()
            combined = random.random(kernel.shape[-2:]) * projection[..., None, :]
            combined *= np.linalg.norm(kernel) / np.linalg.norm(combined)
            layer.set_weights([projection, combined.astype("float32"), *bias])
    return net


def table(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The lines of a table in Markdown."""
    return markdown_table(
        ["", "images seen", "seconds", "test accuracy", "localisation"],
        (
            (
                row["candidate"],
                f"{row['images']:,}",
                f"{row['seconds']:.0f}",
                f"{row['test_accuracy']:.1%}",
                "" if row["localisation"] is None else f"{row['localisation']:.3f}",
            )
            for row in rows
        ),
    )


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, required=True, help="JSON file of the results")
    parser.add_argument("--data", help="folder of prepared data sets")
    parser.add_argument("--grids", type=int, default=40, help="default: 40")
    parser.add_argument("--candidates", nargs="+", choices=CANDIDATES, default=list(CANDIDATES))
    return parser.parse_args()


if __name__ == "__main__":
    main()
