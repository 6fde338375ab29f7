"""Scores averages over views of an image: its mirror image, and shifts by a pixel.

    python benchmarks/views.py --output benchmarks/results/views.json

For every trained preset alone, with the flip, and with flip and shifts as `coda_keras.with_views`
makes them, in three parts:

- choice: how a shift fills the border and what it weighs, compared on training images by their mean
  loss;
- accuracy on the test images of CIFAR-10, which are looked at once, and a paired test of each
  average against the net alone (McNemar, exact, two-sided);
- localisation of the contributions on the same grids for all three, which are of the images that
  the net alone is most confident of. No image is in two grids. The score of every grid is stored,
  with the mean difference to the net alone, its standard error, and a paired t-test.

The cost is the number of nets averaged: so many forward passes, and so many pullbacks for a map.
Nothing is timed. --parts measures some of them; what --output has of other parts and nets is kept.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import binomtest, ttest_rel

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
PARTS = ("choice", "accuracy", "localisation")
WEIGHTS = (0.25, 0.5, 0.75)
NAMES = {"alone": "the net alone", "flip": "with its flip", "shifts": "with flip and shifts"}


@command
def main(arguments: Sequence[str] | None = None, prog: str | None = None) -> None:
    args = parse(arguments, prog)
    rows = {}
    if args.output.is_file():
        rows = {row["preset"]: row for row in json.loads(args.output.read_text())["results"]}
    data = loading.load("cifar10", args.data)
    test = floats(data.test_images[: args.limit_test]), data.test_labels[: args.limit_test]
    train = floats(data.train_images[: args.train]), data.train_labels[: args.train]
    for name in args.preset or cards():
        net = CoDANet.from_preset(name)
        row = rows.setdefault(name, {"preset": name})
        if "choice" in args.parts:
            row["choice"] = choice(net, *train)
        if "accuracy" in args.parts:
            row["scores"] = scored(net, *test)
        if "localisation" in args.parts:
            row["localisation"] = located(net, *test, args.grids)
        commits = dict.fromkeys(args.parts, provenance.commit(ROOT))
        row["measured"] = {**row.get("measured", {}), **commits}
        record = {
            **provenance.record(vars(args)),
            "commit": provenance.commit(ROOT),
            "uncommitted": provenance.uncommitted(ROOT, "coda_keras", "benchmarks/views.py"),
            "results": list(rows.values()),
        }
        write_json(args.output, record)
        print(*table(record["results"]), sep="\n", flush=True)


def choice(net: CoDANet, images: np.ndarray, labels: np.ndarray) -> list[dict[str, Any]]:
    """Loss and accuracy on training images, by fill and weight of the shifts; the best first."""
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


def scored(net: CoDANet, images: np.ndarray, labels: np.ndarray) -> list[dict[str, Any]]:
    """Accuracy of the net alone and with its views."""
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
        rows.append(
            {
                "views": views,
                "passes": len(getattr(nets[views], "members", [net])),
                "accuracy": float(right.mean()),
                "images": len(labels),
                **paired(alone, right),
            }
        )
    return rows


def located(
    net: CoDANet, images: np.ndarray, labels: np.ndarray, grids: int
) -> list[dict[str, Any]]:
    """Localisation of the net alone and with its views, on grids that the net alone chooses."""
    chosen = make_grids(images, logits(net, images), labels, grids, fewer=True)
    contributions = attribution.get("contributions")
    scores = {}
    for views in NAMES:
        of = net if views == "alone" else with_views(net, views)
        scores[views] = localisation(of, chosen, contributions).scores.mean(axis=1)
    return [
        {
            "views": views,
            "grids": len(chosen),
            "mean": float(values.mean()),
            **differences(scores["alone"], values),
            "by_grid": [round(float(value), 5) for value in values],
        }
        for views, values in scores.items()
    ]


def differences(before: np.ndarray, after: np.ndarray) -> dict[str, float]:
    """The mean difference of scores of the same grids, its standard error and its p-value."""
    change = after - before
    if not change.any():
        return {"difference": 0.0, "standard_error": 0.0, "p_value": 1.0}
    return {
        "difference": float(change.mean()),
        "standard_error": float(change.std(ddof=1) / len(change) ** 0.5),
        "p_value": float(ttest_rel(after, before).pvalue),
    }


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
    head = ["net", "forward passes", "accuracy", "gained / lost", "p (McNemar)"]
    head += ["localisation", "less that of the net alone", "p (paired t)"]
    lines = []
    for row in rows:
        places = {score["views"]: score for score in row.get("localisation", [])}
        for scores in row.get("scores", []):
            compared = scores["views"] != "alone"
            line = [
                f"`{row['preset']}`, {NAMES[scores['views']]}",
                str(scores["passes"]),
                f"{scores['accuracy']:.2%}",
                f"{scores['gained']} / {scores['lost']}" if compared else "",
                f"{scores['p_value']:.1e}" if compared else "",
            ]
            if place := places.get(scores["views"]):
                line.append(f"{place['mean']:.3f} on {place['grids']} grids")
                if compared:
                    line.append(f"{place['difference']:+.4f} ± {place['standard_error']:.4f}")
                    line.append(f"{place['p_value']:.1e}")
            lines.append([*line, *[""] * (len(head) - len(line))])
    return markdown_table(head, lines)


def parse(arguments: Sequence[str] | None, prog: str | None) -> argparse.Namespace:
    parser = Parser(prog=prog, description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="JSON file of the results")
    parser.add_argument("--data", help="folder of TensorFlow Datasets, or of CIFAR-10's batches")
    parser.add_argument("--preset", action="append", help="a trained preset; all if omitted")
    parser.add_argument(
        "--grids", type=positive_int, default=250, help="for localisation (%(default)s)"
    )
    parser.add_argument("--parts", nargs="+", default=PARTS, choices=PARTS, help="default: all")
    parser.add_argument(
        "--train",
        type=positive_int,
        default=1000,
        help="training images to choose on (%(default)s)",
    )
    parser.add_argument("--limit-test", type=positive_int, metavar="N")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
