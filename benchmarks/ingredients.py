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
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from export.quiet import import_tensorflow

import_tensorflow()

from coda_keras import provenance, training
from coda_keras.files import write_json
from coda_keras.interpretation.loading import load
from coda_keras.tf.data import load_tfds

COMMON = (
    "--rank-scale 0.125 --batch-size 64 --schedule cosine --precision mixed_bfloat16 "
    "--limit-train 10000 --epochs 4"
)
# Each row adds to what has helped so far.
CANDIDATES = {
    "Adam, T = 1000": "--learning-rate 4e-3",
    "Adam, T from 10 to 1000": "--learning-rate 4e-3 --start-temperature 10",
    "Muon, T from 10 to 1000": "--learning-rate 4e-3 --start-temperature 10 --optimizer muon",
    "Muon, rate 2e-3": "--learning-rate 2e-3 --start-temperature 10 --optimizer muon",
    "Muon, rate 1.2e-2": "--learning-rate 1.2e-2 --start-temperature 10 --optimizer muon",
    "Muon, images that grow": (
        "--learning-rate 4e-3 --start-temperature 10 --optimizer muon --grow --epochs 6"
    ),
}


def main():
    args = parse()
    data = load_tfds("cifar10", args.data)
    record = json.loads(args.output.read_text()) if args.output.exists() else {"results": []}
    done = {row["candidate"] for row in record["results"]}
    for name in args.candidates:
        if name in done:
            continue
        flags = f"{COMMON} {CANDIDATES[name]}".split()
        with tempfile.TemporaryDirectory() as folder:
            run = Path(folder) / "run"
            command = [sys.executable, ROOT / "recipes/cifar10.py", *flags, "--output", run]
            command += ["--data", args.data] if args.data else []
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            metrics = json.loads((run / "metrics.json").read_text())
            net = load(run / "model.keras")
            scores = training.score(net, data, args.grids, fewer=True)
            if scores.get("grids") != args.grids:
                # Classes with too few confident images make no such grids.
                scores["localisation"] = None
        row = {
            "candidate": name,
            "flags": flags,
            "seconds": metrics["training_seconds"],
            "images": len(metrics["history"]) * (10000 // 64) * 64,
            **scores,
        }
        record["results"].append(row)
        record["conditions"] = {
            "commit": provenance.commit(ROOT),
            "versions": provenance.versions(),
            "hardware": provenance.hardware(),
            "grids": args.grids,
            "note": data.note,
        }
        write_json(args.output, record)
        shown = "no grids" if row["localisation"] is None else f"{row['localisation']:8.3f}"
        print(f"{name:28}{row['seconds']:8.0f} s{row['test_accuracy']:9.4f} {shown}", flush=True)


def parse():
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
