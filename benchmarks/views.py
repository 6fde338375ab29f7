"""Scores averages over views of an image: its mirror image, and shifts by a pixel.

    python benchmarks/views.py --output benchmarks/results/views.json

For every trained preset: accuracy on the test images of CIFAR-10 alone, with the flip, and with
flip and shifts as `coda_keras.with_views` makes them; a paired test of each against the net alone
(McNemar, exact, two-sided); localisation of the contributions; and the cost, which is the number of
nets averaged: so many forward passes, and so many pullbacks for a map.

How a shift fills the border and what it weighs is chosen on training images, by their mean loss:
the rows `choice`. The test images are looked at once. Nothing is timed.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import binomtest

from coda_keras import CoDANet, Ensemble, Flipped, Shifted, attribution, backend, with_views
from coda_keras.data import loading
from coda_keras.evaluation import localisation, make_grids
from coda_keras.layers.views import FILLS
from coda_keras.models.pretrained import cards
from coda_keras.utils import provenance
from coda_keras.utils.command_line import Parser, command, positive_int
from coda_keras.utils.files import write_json
from coda_keras.utils.progress import tracked
from coda_keras.utils.text import markdown_table

ROOT = Path(__file__).resolve().parents[1]
BATCH = 250
WEIGHTS = (0.25, 0.5, 0.75)
NAMES = {"alone": "the net alone", "flip": "with its flip", "shifts": "with flip and shifts"}


@command
def main(arguments: Sequence[str] | None = None, prog: str | None = None) -> None:
    args = parse(arguments, prog)
    record = {
        "arguments": provenance.plain(vars(args)),
        "commit": provenance.commit(ROOT),
        "uncommitted": provenance.uncommitted(ROOT, "coda_keras", "benchmarks/views.py"),
        "versions": provenance.versions(),
        "hardware": provenance.hardware(),
        "started": provenance.now(),
        "results": [],
    }
    data = loading.load("cifar10", args.data)
    test = floats(data.test_images[: args.limit_test]), data.test_labels[: args.limit_test]
    train = floats(data.train_images[: args.train]), data.train_labels[: args.train]
    for name in args.preset or cards():
        net = CoDANet.from_preset(name)
        row = {"preset": name, "choice": choice(net, *train)}
        record["results"].append({**row, **scored(net, *test, args.grids)})
        write_json(args.output, record)
        print(*table(record["results"]), sep="\n", flush=True)


def choice(net: CoDANet, images: np.ndarray, labels: np.ndarray) -> list[dict[str, Any]]:
    """Loss and accuracy on training images, by fill and weight of the shifts; the best first."""
    if not len(images):
        return []
    plain = logits(Ensemble([net, Flipped(net)]), images)
    rows = [{"fill": None, "weight": 0.0, **fit(plain, labels)}]
    for fill in FILLS:
        shifted = [Shifted(net, by, by, fill) for by in (1, -1)]
        moved = logits(Ensemble([*shifted, *map(Flipped, shifted)]), images)
        for weight in WEIGHTS:
            mean = (1 - weight) * plain + weight * moved
            rows.append({"fill": fill, "weight": weight, **fit(mean, labels)})
    return sorted(rows, key=lambda row: row["loss"])


def fit(values: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """The mean one-against-all loss of logits `(N, classes)`, and their accuracy."""
    signed = np.where(np.eye(values.shape[1], dtype=bool)[labels], values, -values)
    loss = np.logaddexp(0.0, -signed.astype("float64")).mean()
    return {"loss": float(loss), "accuracy": float(np.mean(values.argmax(-1) == labels))}


def scored(
    net: CoDANet, images: np.ndarray, labels: np.ndarray, grids: int
) -> dict[str, list[dict[str, Any]]]:
    """Scores of the net alone and with its views."""
    seen = {name: with_views(net, name) for name in ("flip", "shifts")}
    nets = {"alone": net, **seen}
    # Members are in several averages: each is asked once.
    parts = [logits(member, images) for member in seen["shifts"].members]
    means = {
        "alone": parts[0],
        "flip": (parts[0] + parts[3]) / 2,
        "shifts": np.tensordot(seen["shifts"].shares, parts, 1),
    }
    alone, rows = means["alone"].argmax(-1) == labels, []
    for views, values in means.items():
        first = logits(nets[views], images[:10])
        np.testing.assert_allclose(first, values[:10], rtol=1e-4, atol=1e-4)
        right = values.argmax(-1) == labels
        row = {
            "views": views,
            "passes": len(getattr(nets[views], "members", [net])),
            "accuracy": float(right.mean()),
            "images": len(labels),
            **paired(alone, right),
        }
        if grids:
            chosen = make_grids(images, values, labels, grids, fewer=True)
            row["grids"] = len(chosen)
            if len(chosen):
                contributions = attribution.get("contributions")
                row["localisation"] = localisation(nets[views], chosen, contributions).mean
        rows.append(row)
        print(row, flush=True)
    return {"scores": rows}


def paired(before: np.ndarray, after: np.ndarray) -> dict[str, Any]:
    """How many images only one of two classifiers gets right, and the p-value of equal chances."""
    gained, lost = int(np.sum(after & ~before)), int(np.sum(before & ~after))
    p_value = float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0
    return {"gained": gained, "lost": lost, "p_value": p_value}


def logits(net: Any, images: np.ndarray) -> np.ndarray:
    """Logits `(N, classes)`, a batch at a time."""
    run = backend.compiled(net, net)
    starts = tracked(range(0, len(images), BATCH), "predicting", "batch")
    return np.concatenate([run(images[start : start + BATCH]) for start in starts])


def floats(images: np.ndarray) -> np.ndarray:
    """Images of 8 bits as float32 in [0, 1]."""
    return images.astype("float32") / 255


def table(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The lines of a table in Markdown."""
    head = ["net", "forward passes", "accuracy", "gained / lost", "p (McNemar)", "localisation"]
    lines = []
    for preset, scores in ((row["preset"], scores) for row in rows for scores in row["scores"]):
        compared = scores["views"] != "alone"
        place = scores.get("localisation")
        lines.append(
            [
                f"`{preset}`, {NAMES[scores['views']]}",
                str(scores["passes"]),
                f"{scores['accuracy']:.2%}",
                f"{scores['gained']} / {scores['lost']}" if compared else "",
                f"{scores['p_value']:.1e}" if compared else "",
                "" if place is None else f"{place:.3f} on {scores['grids']} grids",
            ]
        )
    return markdown_table(head, lines)


def parse(arguments: Sequence[str] | None, prog: str | None) -> argparse.Namespace:
    parser = Parser(prog=prog, description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="JSON file of the results")
    parser.add_argument("--data", help="folder of TensorFlow Datasets, or of CIFAR-10's batches")
    parser.add_argument("--preset", action="append", help="a trained preset; all if omitted")
    parser.add_argument("--grids", type=int, default=20, help="for localisation (%(default)s)")
    parser.add_argument(
        "--train", type=int, default=1000, help="training images to choose on (%(default)s)"
    )
    parser.add_argument("--limit-test", type=positive_int, metavar="N")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
