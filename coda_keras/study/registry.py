"""Everything that a study draws, by its name; the functions are imported when they are asked for.

Each takes a `Study` and returns a figure, or raises `Missing` with the reason.
"""

from collections.abc import Callable
from functools import partial
from pkgutil import resolve_name
from typing import Any

from coda_keras.evaluation.registry import METRICS

PACKAGE = "coda_keras.study"

# Module and function.
FUNCTIONS = {
    "4": "map_figures:temperatures",
    "5": "map_figures:most_confident",
    "7": "map_figures:multi_image",
    "8": "map_figures:side_by_side",
    "a1": "map_figures:more_confident",
    "a3": "map_figures:all_methods",
    "a6": "map_figures:layers_to_class",
    "a7": "map_figures:layers_of_baseline",
    "layers": "map_figures:channels",
    "sanity_maps": "map_figures:sanity_maps",
    "weights": "map_figures:weights",
    "6": "charts:paper_metrics",
    "b4a": "charts:most_important_first",
    "b4b": "charts:paper_metrics_of_baseline",
}
# Of the charts of one metric.
METRIC_FIGURES = {row.figure: row.name for row in METRICS.values() if row.figure}

FIGURES = (*FUNCTIONS, *METRIC_FIGURES)
VIDEO = "video"
EXPLORER = "explorer"
DRAWN = (*FIGURES, VIDEO, EXPLORER)


def figure_function(name: str) -> Callable[[Any], Any]:
    """Returns the function that draws a figure of a study.

    Raises:
        ValueError: if `name` is none of `FIGURES`.
    """
    if name not in FIGURES:
        raise ValueError(f"Unknown figure: {name!r}. Expected one of {', '.join(FIGURES)}.")
    if name in METRIC_FIGURES:
        draw = resolve_name(f"{PACKAGE}.charts:charts_of_metric")
        return partial(draw, metric=METRIC_FIGURES[name])
    return resolve_name(f"{PACKAGE}.{FUNCTIONS[name]}")
