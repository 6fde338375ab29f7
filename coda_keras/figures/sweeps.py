"""Accuracy and localisation of several nets over what tells them apart (Fig. B.1 to B.3)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from matplotlib.figure import Figure

from coda_keras.figures.metrics import Entry, Panel, Row, metrics_figure


@dataclass(frozen=True)
class Curve:
    """Nets of one kind.

    Attributes:
        label: str.
        colour: a matplotlib colour.
        accuracy, localisation: dicts from x, numbers or names, to scores from 0 to 1.
        published_accuracy, published_localisation: the same of published results.
    """

    label: str
    colour: str
    accuracy: Mapping
    localisation: Mapping
    published_accuracy: Mapping = field(default_factory=dict)
    published_localisation: Mapping = field(default_factory=dict)


def sweep_figure(
    curves: Sequence[Curve],
    x_label: str,
    title: str = "",
    logarithmic: bool = False,
    grid_size: int = 3,
) -> Figure:
    """Draws accuracy beside localisation, a line for each kind of nets.

    Args:
        curves: sequence of `Curve`; what has no scores at all has no line.
        x_label: str.
        title: str above both.
        logarithmic: bool, whether x is.
        grid_size: int, images a side of the grids of the localisation, which uniform maps reach
            one over their number of.

    Returns:
        A matplotlib `Figure`.

    Raises:
        ValueError: if there are no scores.
    """
    panels = []
    for name, label, reference in (
        ("accuracy", "test accuracy", None),
        ("localisation", f"localisation, {grid_size}x{grid_size}", 1 / grid_size**2),
    ):
        entries = [
            Entry(curve.label, curve.colour, curve=own, published_curve=published)
            for curve in curves
            for own in [_line(getattr(curve, name))]
            for published in [_line(getattr(curve, f"published_{name}"))]
            if own or published
        ]
        if entries:
            panels.append(
                Panel(
                    label,
                    entries,
                    x_label,
                    label,
                    reference=reference,
                    markers=True,
                    logarithmic=logarithmic,
                )
            )
    return metrics_figure([Row(title, panels)], ours="these runs")


def _line(scores):
    return tuple(zip(*scores.items())) or None
