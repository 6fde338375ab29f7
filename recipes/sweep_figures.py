"""Fig. B.1, B.2 and B.3 from the results of coda-keras sweep.

    coda-keras sweep_figures recipes/results/experiments-eighth.json --output docs/images

Accuracy and localisation over T, over the number of parameters, and over λ and the rescaling; with
what the authors have published of them. Each figure shows the runs that are there. Localisation is
by the authors' rule where their numbers stand beside it. The table of the runs is printed.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from coda_keras_recipes.experiments import EXPERIMENTS

from coda_keras.utils.command_line import Parser, tensorflow_command
from coda_keras.utils.files import read_json
from coda_keras.utils.text import markdown_table

Row = Mapping[str, Any]

KINDS = {"squash": ("SQ", "#c0392b"), "l2": ("L2", "#2471a3")}
# Place in the paper: name of the figure, what its x axis says and takes from a run.
FIGURES = {
    "Fig. B.1": ("figure-b1", "T", lambda row: row["arguments"]["temperature"]),
    "Fig. B.2": ("figure-b2", "million parameters", lambda row: row["parameters"] / 1e6),
    "Fig. B.3a": (
        "figure-b3a",
        "g of eq. 2 and 3, T = 1000",
        lambda row: KINDS[row["arguments"]["rescale"]][0],
    ),
    "Fig. B.3b": ("figure-b3b", "λ, T = 64", lambda row: f"{row['arguments']['regularisation']:g}"),
}
LOGARITHMIC = ("Fig. B.1", "Fig. B.2")
# Where what the paper's nets have for x does not depend on their size, and what they have.
PUBLISHED_IN = ("Fig. B.1", "Fig. B.3a")
PUBLISHED_RULE = "published_rule_localisation"
DEFAULTS = {"temperature": 1000.0, "rescale": "squash"}
# What every row has.
KEYS = {"experiment", "arguments", "parameters", "test_accuracy", "localisation", "grids"}
KEYS |= {"training_seconds"}
SIZES = ("rank_scale", "epochs", "limit_train")


@tensorflow_command
def main(arguments: Sequence[str] | None = None, prog: str | None = None) -> None:
    parser = Parser(description=__doc__, prog=prog)
    parser.add_argument("results", type=Path, help="results.json of a sweep")
    parser.add_argument("--output", type=Path, default=Path(), help="folder of the figures")
    args = parser.parse_args(arguments)
    rows = read(args.results)
    print(*table(rows), sep="\n")
    save(rows, args.output)


def read(path: Path) -> list[Row]:
    """The rows of a results.json of a sweep."""
    rows = read_json(path, "results")["results"]
    fits = isinstance(rows, list) and all(isinstance(row, dict) for row in rows)
    if not fits or not all(row.keys() >= KEYS and row["experiment"] in EXPERIMENTS for row in rows):
        raise ValueError(
            f"{path}: expected `results` as a list of runs of a sweep, each of an experiment and "
            f"with {', '.join(sorted(KEYS))}."
        )
    return rows


def save(rows: Sequence[Row], folder: Path) -> None:
    """Draws every figure that some of the runs are points of, as PNG and PDF."""
    from coda_keras.figures import Curve, save_figure, sweep_figure

    for place, (name, x_label, x_of) in FIGURES.items():
        points = [row for row in rows if place in EXPERIMENTS[row["experiment"]].places]
        if not points:
            continue
        size = max(row.get("grid_size", 3) for row in points)
        paper = published(place) if place in PUBLISHED_IN else []
        # Beside the authors' numbers stand ours by their rule.
        rule = PUBLISHED_RULE if paper and size == 3 else "localisation"
        curves = [
            Curve(
                f"S-CoDA-{label}",
                colour,
                *scores(of_kind(points, rescale), x_of, rule),
                *scores(of_kind(paper, rescale), x_of, rule),
            )
            for rescale, (label, colour) in KINDS.items()
        ]
        figure = sweep_figure(curves, x_label, title(points), place in LOGARITHMIC, size)
        save_figure(figure, [folder / f"{name}.{suffix}" for suffix in ("png", "pdf")])
        print(f"figure   {folder / name}.png")


def published(place: str) -> list[Row]:
    """The paper's numbers in a figure, in the form of results."""
    return [
        {
            "arguments": {**DEFAULTS, **row.settings},
            "test_accuracy": row.accuracy,
            PUBLISHED_RULE: row.localisation,
        }
        for row in EXPERIMENTS.values()
        if place in row.places
    ]


def of_kind(rows: Sequence[Row], rescale: str) -> list[Row]:
    """Those whose units are rescaled like this."""
    return [row for row in rows if row["arguments"]["rescale"] == rescale]


def scores(rows: Sequence[Row], x_of: Callable[[Row], Any], rule: str) -> list[dict[Any, float]]:
    """Accuracy and localisation by x, as far as known; `rule` names the localisation in a row."""
    return [
        {x_of(row): row[name] for row in rows if row.get(name) is not None}
        for name in ("test_accuracy", rule)
    ]


def table(rows: Sequence[Row]) -> list[str]:
    """The lines of a table in Markdown, of rows of results.json."""
    return markdown_table(
        ["experiment", "test accuracy", "localisation", "grids", "seconds"],
        (
            (
                row["experiment"],
                f"{row['test_accuracy']:.2%}",
                "" if row["localisation"] is None else f"{row['localisation']:.3f}",
                f"{row['grids']} of {row.get('grid_size', 3)}x{row.get('grid_size', 3)}",
                f"{row['training_seconds']:.0f}",
            )
            for row in rows
        ),
    )


def title(points: Sequence[Row]) -> str:
    """What all of the runs have in common, of what makes them small."""
    values = {name: {row["arguments"][name] for row in points} for name in SIZES}
    names = {"rank_scale": "ranks x {:g}", "epochs": "epochs: {}", "limit_train": "of {:,} images"}
    return ", ".join(
        names[name].format(*shared)
        for name, shared in values.items()
        if len(shared) == 1 and shared != {None}
    )


if __name__ == "__main__":
    main()
