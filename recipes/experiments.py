"""The paper's experiments by name, with its numbers and ours.

    coda-keras experiments

prints the table. A row has the name of an experiment, its place in the paper, and the results. A
command runs it:

    coda-keras train cifar10 --experiment s_coda_sq_t10

Other flags, also `--fast`, may be added. They do not change what defines the experiment, unless a
flag names it. Our numbers are stored results, most of them of `coda-keras sweep`.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from coda_keras.training import Settings, SettingsParser
from coda_keras.utils.command_line import Parser, command
from coda_keras.utils.text import nearest

# They are installed with this module.
RESULTS = Path(__file__).parent / "results"
NOTHING = "-"


class Experiment(NamedTuple):
    """A row of the table.

    Attributes:
        recipe: name of the file in recipes/ that runs it.
        places: figures and tables of the paper that it is in.
        settings: values of flags that differ from the recipe's own; None for a recipe that has no
            `--experiment`, as it is no training of one net.
        accuracy, localisation: what the paper or its authors' results say, from 0 to 1; None where
            they draw it only.
        missing: why there is no net of ours; shown as long as there is none.
    """

    recipe: str
    places: tuple[str, ...]
    settings: Mapping[str, Any] | None
    accuracy: float | None = None
    localisation: float | None = None
    missing: str = "not run"

    @property
    def command(self) -> str:
        """What runs the recipe."""
        train = "" if self.settings is None else "train "
        return f"`coda-keras {train}{self.recipe}`"


def _t(temperature: float, *places: str, **paper: float) -> Experiment:
    settings = {"temperature": float(temperature)}
    return Experiment("cifar10", ("Fig. 6", "Fig. B.1", *places), settings, **paper)


def _lambda(strength: float, rescale: str) -> Experiment:
    # With T = 64 logits are means over the 8x8 positions of the last layer.
    settings = {"temperature": 64.0, "regularisation": strength, "rescale": rescale}
    return Experiment("cifar10", ("Table 1", "Fig. A.5", "Fig. B.3b"), settings)


def _xl(temperature: float, **more: Any) -> Experiment:
    settings = {"temperature": temperature, **more}
    return Experiment("tiny_imagenet", ("Table 1", "C.1"), settings)


EXPERIMENTS = {
    "s_coda_sq_t10": _t(10, localisation=0.3137),
    "s_coda_sq_t50": _t(50, localisation=0.4447),
    "s_coda_sq_t100": _t(100, localisation=0.6372),
    "s_coda_sq_t500": _t(500, localisation=0.8399),
    "s_coda_sq_t1000": _t(1000, "Fig. B.2", "Fig. B.3a", accuracy=0.932, localisation=0.9115),
    "s_coda_sq_t5000": _t(5000, localisation=0.9077),
    "s_coda_sq_t10000": _t(10_000),
    "s_coda_l2_t1000": Experiment("cifar10", ("Fig. B.3a",), {"rescale": "l2"}),
    **{
        f"s_coda_{kind}_lambda_{strength:g}": _lambda(strength, rescale)
        for kind, rescale in (("sq", "squash"), ("l2", "l2"))
        for strength in (0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0)
    },
    **{
        f"s_coda_sq_rank_{scale:g}": Experiment("cifar10", ("Fig. B.2",), {"rank_scale": scale})
        for scale in (0.125, 0.25, 0.5)
    },
    "s_coda_sq_rank_4.5": Experiment(
        "cifar10", ("Fig. B.2",), {"rank_scale": 4.5}, missing="needs a net of the full size"
    ),
    # T and λ of this one are our choice, for want of the paper's.
    "m_coda_sq_randaugment": Experiment(
        "cifar10",
        ("Table 1",),
        {"preset": "m_coda", "randaugment": True, "temperature": 64.0, "regularisation": 0.1},
    ),
    "resnet56": Experiment("resnet56", ("Fig. B.4b",), {}),
    "xl_coda_sq_t64": _xl(64.0),
    "xl_coda_sq_t64_randaugment": _xl(64.0, randaugment=True),
    "xl_coda_sq_t6400": _xl(6400.0),
    "xl_coda_sq_t6400_randaugment": _xl(6400.0, randaugment=True),
    "l_coda_sq_t100000": Experiment(
        "imagenet", ("C.1",), {"temperature": 1e5}, missing="needs ImageNet"
    ),
    "resnet50": Experiment("imagenet", ("C.1",), {"model": "resnet50"}, missing="needs ImageNet"),
    "mnist": Experiment("mnist", ("Fig. 2", "Fig. 3"), None, missing="has a page of its own"),
    "supplement": Experiment("supplement", ("D", "E"), None, missing="has a page of its own"),
}


def parse(
    description: str,
    recipe: str,
    values: Mapping[str, Any],
    fast: Mapping[str, Any] | None = None,
    arguments: Sequence[str] | None = None,
    prog: str | None = None,
) -> Settings:
    """Reads a recipe's command line, with `--experiment` and `--list`.

    Args:
        description: the recipe's docstring, for `--help`.
        recipe: name of its file.
        values: its own values; see `coda_keras.training.SettingsParser`.
        fast: other ones, with `--fast`.
        arguments: list of str; None for those of this process.
        prog: name of the command; None for that of the script.

    Raises:
        ValueError: if there is no such experiment, or another recipe runs it.
    """
    # What these ask for decides the defaults of all others.
    first = Parser(add_help=False, prog=prog)
    first.add_argument("--experiment")
    first.add_argument("--list", action="store_true")
    first.add_argument("--fast", action="store_true")
    asked, _ = first.parse_known_args(arguments)
    if asked.list:
        print(table())
        sys.exit(0)
    defaults = {**values, **(fast if fast and asked.fast else {})}
    if asked.experiment is not None:
        row = find(asked.experiment)
        if row.recipe != recipe:
            raise ValueError(f"{asked.experiment} is an experiment of {row.command}.")
        folder = asked.experiment + ("-fast" if fast and asked.fast else "")
        defaults.update(row.settings, output=Path("runs", folder))
    parser = SettingsParser(description, prog, **defaults, experiment=None)
    parser.groups["experiments of the paper"].add_argument(
        "--list", action="store_true", help="print all experiments, and end"
    )
    return parser.settings(arguments)


def find(name: str) -> Experiment:
    """The experiment of that name; ValueError, which suggests another, if there is none."""
    if name not in EXPERIMENTS:
        suggestion = nearest(name, EXPERIMENTS)
        raise ValueError(f"There is no experiment {name!r}.{suggestion} --list shows them all.")
    return EXPERIMENTS[name]


def results() -> dict[str, dict[str, Any]]:
    """Our stored results by experiment; of several the most accurate.

    Each is a dict with `experiment`, `test_accuracy`, `published_rule_localisation`, `parameters`,
    `training_seconds` and `arguments`, of which the table shows `epochs` and `limit_train`.
    """
    rows: list[dict[str, Any]] = []
    for path in sorted(RESULTS.glob("experiments*.json")):
        rows += json.loads(path.read_text("utf-8"))["results"]
    return {row["experiment"]: row for row in sorted(rows, key=lambda row: row["test_accuracy"])}


def table() -> str:
    """All experiments with the paper's numbers and ours, in Markdown."""
    head = ("experiment", "paper", "its accuracy", "ours", "its localisation", "ours")
    head += ("our net", "epochs x images", "hours")
    best = results()
    rows = [head, ["---"] * len(head)]
    for name, row in EXPERIMENTS.items():
        own = best.get(name)
        rows.append(
            (
                name,
                ", ".join(row.places),
                _percent(row.accuracy),
                _percent(own and own["test_accuracy"]),
                _share(row.localisation),
                # The authors' numbers, beside which this stands, are on grids of their rule.
                _share(own and own.get("published_rule_localisation")),
                *(cost(own) if own else (row.missing, NOTHING, NOTHING)),
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows)]
    rows[1] = ["-" * width for width in widths]
    lines = (" | ".join(cell.ljust(width) for cell, width in zip(row, widths)) for row in rows)
    return "\n".join(f"| {line} |" for line in lines)


def cost(row: Mapping[str, Any]) -> tuple[str, str, str]:
    """What a net of ours took: parameters, epochs and images, hours."""
    used = row["arguments"]
    images = "all" if used["limit_train"] is None else f"{used['limit_train']:,}"
    return (
        f"{row['parameters'] / 1e6:.1f}M",
        f"{used['epochs']} x {images}",
        f"{row['training_seconds'] / 3600:.2f}",
    )


def _percent(value: float | None) -> str:
    return NOTHING if value is None else f"{100 * value:.1f}%"


def _share(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.4f}"


@command
def main(arguments: Sequence[str] | None = None, prog: str | None = None) -> None:
    Parser(description=__doc__, prog=prog).parse_args(arguments)
    print(table())


if __name__ == "__main__":
    main()
