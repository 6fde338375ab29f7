"""What a metric shows in charts, as data: boxes of scores and curves."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

# The numbers of a metric, as a dict for JSON.
Summary = dict[str, Any]


@dataclass(frozen=True)
class Box:
    """The distribution of a score.

    Attributes:
        mean: float.
        quartiles: the 25th, 50th and 75th percentile.
    """

    mean: float
    quartiles: tuple[float, float, float]


@dataclass(frozen=True)
class Curve:
    """A curve.

    Attributes:
        x: n numbers, or n names.
        y: n numbers.
    """

    x: tuple
    y: tuple[float, ...]


@dataclass(frozen=True)
class Chart:
    """One panel about a metric, a box or a curve for every method.

    Attributes:
        title: str.
        read: function from a summary to a `Box` or `Curve`, or None where it has none.
        x_label, y_label: str.
        y_range: lowest and highest value shown; None fits the values.
        reference: function from a summary to a value to compare with, drawn dotted, or None.
        markers: bool, whether the points of a curve are marked.
    """

    title: str
    read: Callable[[Summary], Box | Curve | None]
    x_label: str = ""
    y_label: str = ""
    y_range: tuple[float, float] | None = (0.0, 1.02)
    reference: Callable[[Summary], float | None] | None = None
    markers: bool = False


def distribution(scores: np.ndarray) -> Summary:
    """Returns mean and quartiles of scores `(N,)` as plain numbers."""
    quartiles = [float(value) for value in np.percentile(scores, [25, 50, 75])]
    return {"mean": float(scores.mean()), "percentiles_25_50_75": quartiles}


def score_box(summary: Summary) -> Box:
    """Reads the distribution of a summary of scores."""
    return Box(summary["mean"], tuple(summary["percentiles_25_50_75"]))


def score_chart(title: str, key: str, y_label: str) -> Chart:
    """Returns the chart of further scores, whose distribution a summary has under a key."""
    return Chart(title, lambda numbers: score_box(numbers[key]), y_label=y_label, y_range=None)
