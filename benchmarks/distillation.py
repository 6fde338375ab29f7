"""What a teacher, and other means, are worth to a CoDA-Net: short trainings, several seeds.

    python benchmarks/distillation.py --teacher runs/teacher/teacher.npz \
        --output benchmarks/results/distillation.json

Trains the small net (all ranks divided by 8) by recipes/cifar10.py with each row of `CANDIDATES` on
10,000 images for 3 epochs, and scores it on 5,000 training images that neither it nor the teacher
has seen: accuracy, and localisation on 20 grids of 3x3 images. That is measured by both rules and
without their threshold of 50%, which fewer images exceed where targets are below 1. Results already
in the output file are kept, so that an interrupted search goes on; `--candidates` and `--seeds`
choose. Flags that are not of this command go on to the recipe of every row, after its own: with
`--limit-train 45000 --epochs 6` rows take 9 times as long, and say more of a real training.
Rows of `MAPS` need a CoDA-Net besides, `--map-teacher`, that has not seen those images either.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from coda_keras import training
from coda_keras.data import loading
from coda_keras.models.loading import load_model
from coda_keras.utils import provenance
from coda_keras.utils.files import write_json
from coda_keras.utils.text import markdown_table

ROOT = Path(__file__).resolve().parents[1]
HELD_OUT, GRIDS = 5000, 20
# All held out images are for the score; epochs do with a tenth of them.
COMMON = f"--fast --rank-scale 0.125 --limit-train 10000 --epochs 3 --hold-out {HELD_OUT}"
COMMON += " --limit-test 500"
TAUGHT = "--teacher {teacher}"
SHARPER = f"{TAUGHT} --teacher-scale 2"
CANDIDATES = {
    "labels alone": "",
    "labels alone, flips that alternate": "--alternate-flip",
    "labels alone, L2": "--rescale l2",
    "labels alone, trained on grids": "--grid-loss 0.5",
    "labels alone, trained on grids, λ = 0.05": "--grid-loss 0.05",
    **{
        f"labels alone, {words}norms that stay, rate {rate}": f"{flags}--optimizer fixed_muon "
        f"--learning-rate {rate}"
        for words, flags in (("", ""), ("L2, ", "--rescale l2 "))
        for rate in (0.0025, 0.005, 0.01, 0.02, 0.05)
    },
    "sigmoids": TAUGHT,
    "sigmoids, scale 2": SHARPER,
    "sigmoids, scale 3": f"{TAUGHT} --teacher-scale 3",
    **{
        f"sigmoids, scale 2, shift {value}": f"{SHARPER} --teacher-shift {value}"
        for value in (1.5, 3)
    },
    "softmax": f"{TAUGHT} --teacher-targets softmax",
    "softmax, scale 2": f"{SHARPER} --teacher-targets softmax",
    "sigmoids, scale 2, a fifth labels": f"{SHARPER} --label-weight 0.2",
    "sigmoids, scale 2, flips that alternate": f"{SHARPER} --alternate-flip",
    **{
        f"sigmoids, scale 2, T = {value}": f"{SHARPER} --temperature {value}"
        for value in (5000, 20000)
    },
    "sigmoids, scale 2, T = 5000, λ = 0.25": f"{SHARPER} --temperature 5000 --regularisation 0.25",
}
MAPS = {
    f"sigmoids, scale 2, maps with weight {weight}": f"{SHARPER} --map-teacher {{maps}} "
    f"--map-weight {weight}"
    for weight in (0.05, 0.2, 1)
}
# What a row has of the scores.
LOCALISATION = {
    "localisation": ("localisation", "grids"),
    "by the authors' rule": ("published_rule_localisation", "published_rule_grids"),
    "without the threshold": ("localisation_without_threshold", "grids_without_threshold"),
}


def main() -> None:
    args, flags = parse()
    data = loading.load("cifar10", args.data).hold_out(HELD_OUT)
    record = stored(args.output) or {"flags": flags, "results": []}
    done = {(row["candidate"], row["seed"]) for row in record["results"]}
    for seed in args.seeds:
        for name in args.candidates:
            if (name, seed) in done:
                continue
            with tempfile.TemporaryDirectory() as folder:
                row = train(name, seed, Path(folder) / "run", args, flags)
                net = load_model(Path(folder) / "run/model.keras")
                row.update(training.score(net, data, GRIDS, fewer=True, all_correct=True))
            record["results"].append(row)
            record["conditions"] = {
                "commit": provenance.commit(ROOT),
                "versions": provenance.versions(),
                "note": data.note,
            }
            write_json(args.output, record)
            print(f"seed {seed}", *table([row])[-1:], flush=True)


def stored(output: Path) -> dict[str, Any]:
    """The record of earlier rows, or {}."""
    return json.loads(output.read_text()) if output.exists() else {}


def train(
    name: str, seed: int, folder: Path, args: argparse.Namespace, more: Sequence[str]
) -> dict[str, Any]:
    """Trains a candidate in `folder`; what the record has of it beside the scores."""
    flags = [*COMMON.split(), "--seed", str(seed), *more, *(CANDIDATES | MAPS)[name].split()]
    filled = [flag.format(teacher=args.teacher, maps=args.map_teacher) for flag in flags]
    command = [sys.executable, ROOT / "recipes/cifar10.py", *filled, "--output", folder]
    command += ["--data", args.data] if args.data else []
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    metrics = json.loads((folder / "metrics.json").read_text())
    return {
        "candidate": name,
        "seed": seed,
        "flags": flags,
        "precision": metrics["arguments"]["precision"],
        "seconds": metrics["training_seconds"],
        "hardware": provenance.hardware(),
    }


def table(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The lines of a table in Markdown: means over the seeds, with the smallest and the largest."""
    names = dict.fromkeys(row["candidate"] for row in rows)
    lines = []
    for name in names:
        own = [row for row in rows if row["candidate"] == name]
        cells = [name, str(len(own)), _spread([100 * row["test_accuracy"] for row in own], 1, "%")]
        for score, grids in LOCALISATION.values():
            scored = [row for row in own if row.get(grids) == GRIDS]
            cells.append(_spread([row[score] for row in scored], 3) if scored else "")
        lines.append(cells)
    return markdown_table(["", "seeds", "accuracy", *LOCALISATION], lines)


def _spread(values, digits, unit=""):
    mean, low, high = statistics.fmean(values), min(values), max(values)
    mean, low, high = (f"{value:.{digits}f}{unit}" for value in (mean, low, high))
    return mean if len(values) == 1 else f"{mean} ({low} to {high})"


def parse() -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, required=True, help="JSON file of the results")
    parser.add_argument("--teacher", type=Path, help="file of a teacher's logits")
    parser.add_argument("--map-teacher", help="trained CoDA-Net, for the rows of its maps")
    parser.add_argument("--data", help="folder of prepared data sets")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="default: 0 1 2")
    parser.add_argument("--candidates", nargs="+", choices=CANDIDATES | MAPS)
    args, more = parser.parse_known_args()
    before = stored(args.output).get("flags", more)
    if before != more:
        parser.error(f"{args.output} has rows with the flags {before}. Name another --output.")
    if args.candidates is None:
        args.candidates = list(CANDIDATES | MAPS if args.map_teacher else CANDIDATES)
    flags = "".join((CANDIDATES | MAPS)[name] for name in args.candidates)
    if "{teacher}" in flags and args.teacher is None:
        parser.error("the chosen candidates need --teacher; recipes/teacher.py writes one")
    if "{maps}" in flags and args.map_teacher is None:
        parser.error("the chosen candidates need --map-teacher, a trained CoDA-Net")
    return args, more


if __name__ == "__main__":
    main()
