"""Accuracy and localisation while nets train: a score of every checkpoint that a run has kept.

    python recipes/cifar10.py --fast --rank-scale 0.125 --limit-train 10000 --limit-test 1000 \\
        --keep-checkpoints --epochs 6 --output runs/curve-fast
    python recipes/cifar10.py --rank-scale 0.125 --limit-train 10000 --limit-test 1000 \\
        --keep-checkpoints --epochs 4 --output runs/curve-paper
    python benchmarks/progress.py --run "fast recipe=runs/curve-fast" \\
        --run "the paper's recipe=runs/curve-paper" --grids 40 --limit-test 3000 \\
        --output benchmarks/results/progress.json --figure docs/images/progress.png

Scores each `checkpoints/NNN.keras` of the runs on all test images and by 3x3 grids of own
contributions. Beside it stands the mean of the weights of the last `--average` checkpoints. Seconds
are those of the run's history, whatever else the machine did then. Scores that the output file has
already are kept.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from coda_keras import CoDANet, training
from coda_keras.data.images import ImageData
from coda_keras.data.tf_batches import load_tfds
from coda_keras.figures import save_figure
from coda_keras.models.loading import load_model
from coda_keras.models.precision import float32_copy
from coda_keras.utils import provenance
from coda_keras.utils.command_line import positive_int
from coda_keras.utils.files import write_json
from coda_keras.utils.text import markdown_table

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    args = parse()
    data = load_tfds("cifar10", args.data).limit(test=args.limit_test)
    record = json.loads(args.output.read_text()) if args.output.exists() else {"results": []}
    record["conditions"] = {
        "commit": provenance.commit(ROOT),
        "versions": provenance.versions(),
        "hardware": provenance.hardware(),
        "grids": args.grids,
        "averaged": args.average,
        "note": data.note,
    }
    done = {(row["run"], row["epoch"]) for row in record["results"]}
    for label, folder in args.run:
        seconds = np.cumsum(
            [e["seconds"] for e in json.loads((folder / "history.json").read_text())]
        )
        kept = sorted((folder / "checkpoints").glob("*.keras"), key=lambda path: int(path.stem))
        for index, path in enumerate(kept):
            epoch = int(path.stem)
            if epoch % args.every or (label, epoch) in done:
                continue
            net = float32_copy(load_model(path))
            row = {"run": label, "epoch": epoch, "seconds": float(seconds[epoch - 1])}
            row |= measured(net, data, args.grids)
            if args.average:
                net.set_weights(mean_weights(kept[max(0, index + 1 - args.average) : index + 1]))
                row["average"] = measured(net, data, args.grids)
            record["results"].append(row)
            write_json(args.output, record)
            print(table([row])[-1], flush=True)
    if args.figure:
        save_figure(draw(record["results"]), args.figure)


def measured(net: CoDANet, data: ImageData, grids: int) -> dict[str, float | None]:
    """Accuracy and localisation; None for the latter where a class has no confident image."""
    scores = training.score(net, data, grids, fewer=True)
    whole = scores.get("grids") == grids
    return {
        "test_accuracy": scores["test_accuracy"],
        "localisation": scores["localisation"] if whole else None,
    }


def mean_weights(paths: Sequence[Path]) -> list[np.ndarray]:
    """The mean of the weights of nets from files."""
    nets = [float32_copy(load_model(path)).get_weights() for path in paths]
    return [np.mean(weights, axis=0) for weights in zip(*nets)]


def table(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The lines of a table in Markdown."""
    averaged = any("average" in row for row in rows)
    head = ["run", "epoch", "minutes", "accuracy", "localisation"]
    head += ["of the mean: accuracy", "localisation"] if averaged else []
    lines = []
    for row in rows:
        cells = [row["run"], str(row["epoch"]), f"{row['seconds'] / 60:.0f}"]
        for scores in (row, row.get("average", {}))[: 1 + averaged]:
            accuracy, place = scores.get("test_accuracy"), scores.get("localisation")
            cells.append("" if accuracy is None else f"{accuracy:.2%}")
            cells.append("" if place is None else f"{place:.3f}")
        lines.append(cells)
    return markdown_table(head, lines)


def draw(rows: Sequence[dict[str, Any]]) -> Figure:
    """Accuracy and localisation over seconds, a line for every run."""
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    axes = figure.subplots(1, 2, sharex=True)
    for label in dict.fromkeys(row["run"] for row in rows):
        mine = sorted((row for row in rows if row["run"] == label), key=lambda row: row["epoch"])
        minutes = [row["seconds"] / 60 for row in mine]
        for axis, key in zip(axes, ("test_accuracy", "localisation")):
            values = [np.nan if row[key] is None else row[key] for row in mine]
            axis.plot(minutes, values, marker=".", label=label)
    for axis, title in zip(axes, ("test accuracy", "localisation")):
        axis.set(title=title, xlabel="minutes")
        axis.grid(alpha=0.3)
    axes[0].legend()
    return figure


def run_folder(text: str) -> tuple[str, Path]:
    """Reads LABEL=FOLDER; for the `type` of an argument."""
    label, _, folder = text.partition("=")
    if not folder or not (Path(folder) / "history.json").exists():
        raise argparse.ArgumentTypeError(f"{text} is not LABEL=FOLDER with a history.json in it")
    return label, Path(folder)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", type=run_folder, action="append", required=True)
    parser.add_argument("--output", type=Path, required=True, help="JSON file of the results")
    parser.add_argument("--figure", type=Path, help="file of a chart of all results")
    parser.add_argument("--data", help="folder of prepared data sets")
    parser.add_argument("--grids", type=int, default=100, help="default: 100")
    parser.add_argument("--every", type=positive_int, default=1, help="so many epochs")
    parser.add_argument("--average", type=positive_int, help="checkpoints to average")
    parser.add_argument("--limit-test", type=positive_int, metavar="N")
    return parser.parse_args()


if __name__ == "__main__":
    main()
