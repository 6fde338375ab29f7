"""Every metric by its name, in the order of the tables' columns.

The classes are imported when they are asked for, so that names need no framework.
"""

from dataclasses import dataclass
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

from coda_keras.utils import arguments

if TYPE_CHECKING:
    from coda_keras.evaluation.metric import Metric

PACKAGE = "coda_keras.evaluation"


@dataclass(frozen=True)
class Row:
    """What is known of a metric before it is imported.

    Attributes:
        name: str, by which `evaluation.get` and commands know it.
        target: str, module and class: `"road:ROAD"` is that of evaluation/road.py.
        figure: str, name of the figure of its charts, or None for none of its own.
    """

    name: str
    target: str
    figure: str | None

    @property
    def make(self) -> type["Metric"]:
        """The `Metric` class."""
        return resolve_name(f"{PACKAGE}.{self.target}")


ROWS = (
    Row("localisation", "grid_localisation:GridLocalisation", "windows"),
    Row("pixel_removal", "removal:PixelRemovalCurves", None),
    Row("deletion", "deletion:Deletion", "deletion"),
    Row("insertion", "insertion:Insertion", "insertion"),
    Row("road", "road:ROAD", "road"),
    Row("infidelity", "infidelity:Infidelity", "infidelity"),
    Row("max_sensitivity", "max_sensitivity:MaxSensitivity", "max_sensitivity"),
    Row("sparseness", "sparseness:Sparseness", "sparseness"),
    Row("complexity", "complexity:Complexity", "complexity"),
    Row("sanity", "sanity:CascadingRandomisation", "sanity"),
    Row("random_logit", "random_logit:RandomLogit", "random_logit"),
    Row("completeness", "completeness:Completeness", "completeness"),
)

METRICS = {row.name: row for row in ROWS}

# How localisation makes its grids: the `rule` of `evaluation.grids.make_grids`.
GRID_RULES = ("blocks", "published", "all_correct")

# Those of the paper, and the sanity check: what a study measures unless it is told otherwise.
STUDIED = ("localisation", "pixel_removal", "sanity")


def get(name: str, **kwargs: Any) -> "Metric":
    """Makes a metric by its name.

    Args:
        name: a key of `METRICS`.
        **kwargs: arguments of the metric.

    Raises:
        ValueError: if there is no such metric, or it has no such argument.

    Example:

    >>> get("pixel_removal", points=16).arguments["fraction"]
    0.25
    """
    if name not in METRICS:
        raise ValueError(f"Unknown metric: {name!r}. Expected one of {', '.join(METRICS)}.")
    make = METRICS[name].make
    arguments.check(name, make, kwargs)
    return make(**kwargs)
