"""Rows of panels about metrics: boxes of scores and curves, a colour for each method."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from coda_keras.figures.rendering import Picture
from coda_keras.figures.style import FONT, SMALL, light_frame, slant

_WIDTH = 0.34


@dataclass(frozen=True, eq=False)
class Entry:
    """One method, or one model, in a panel.

    Attributes:
        label: str.
        colour: a matplotlib colour.
        box: `(mean, (25th, 50th, 75th percentile))` of a score, or None.
        curve: `(x, y)`, two sequences of n values, or None; x may hold names.
        published_box, published_curve: the same of published results, or None.
        count: int, how many items the box is about, written behind its label; None for nothing.
    """

    label: str
    colour: str
    box: tuple | None = None
    curve: tuple | None = None
    published_box: tuple | None = None
    published_curve: tuple | None = None
    count: int | None = None


@dataclass(frozen=True, eq=False)
class Panel:
    """One panel, with boxes or with curves.

    Attributes:
        title: str.
        entries: sequence of `Entry`; curves of the first are drawn over those of the others.
        x_label, y_label: str.
        y_range: lowest and highest value shown, or None.
        reference: a value to compare with, drawn dotted, or None.
        markers: bool, whether the points of curves are marked.
        logarithmic: bool, whether the x axis of curves is.
    """

    title: str
    entries: Sequence[Entry]
    x_label: str = ""
    y_label: str = ""
    y_range: tuple[float, float] | None = None
    reference: float | None = None
    markers: bool = False
    logarithmic: bool = False


@dataclass(frozen=True, eq=False)
class Row:
    """A row of panels about the same methods or models.

    Attributes:
        title: str above the row.
        panels: sequence of `Panel`.
    """

    title: str
    panels: Sequence[Panel]


def metrics_figure(
    rows: Sequence[Row],
    ours: str = "this run",
    published: str = "published",
    panel: tuple[float, float] = (4.6, 3.3),
) -> Figure:
    """Draws rows of panels.

    Filled boxes and solid lines are your own results, hollow boxes and dashed lines published
    ones. A box spans the 25th to the 75th percentile, the line in it is the median, the dot and
    the number above are the mean.

    Args:
        rows: sequence of `Row`.
        ours, published: str, names of the two kinds in the legend.
        panel: width and height of a panel in inches.

    Returns:
        A matplotlib `Figure`.

    Raises:
        ValueError: if there is nothing to draw.
    """
    panels = [panel for row in rows for panel in row.panels]
    if not all(row.panels for row in rows) or not panels or not all(p.entries for p in panels):
        raise ValueError("Expected at least one row of panels with entries. Received none.")
    columns = max(len(row.panels) for row in rows)
    figure = Picture(
        figsize=(panel[0] * columns, panel[1] * len(rows) + 0.3),
        layout=ConstrainedLayoutEngine(h_pad=0.08, w_pad=0.08),
    )
    parts = (
        [figure] if len(rows) == 1 else list(figure.subfigures(len(rows), 1, squeeze=False).ravel())
    )
    for part, row in zip(parts, rows):
        part.suptitle(row.title, fontsize=FONT + 1)
        all_axes = part.subplots(1, len(row.panels), squeeze=False)[0]
        for axes, content in zip(all_axes, row.panels):
            _draw(axes, content)
        with_curves = [place for place, content in enumerate(row.panels) if _has_curves(content)]
        if with_curves:
            # One list of the entries for all the curves of a row.
            _list_entries(all_axes[with_curves[-1]], row.panels, ours, published)
    return figure


def _has_curves(panel):
    return any(_curves(entry) for entry in panel.entries)


def _draw(axes: Axes, panel):
    light_frame(axes)
    if _has_curves(panel):
        _draw_curves(axes, panel)
    else:
        _draw_boxes(axes, panel)
    title = panel.title
    if panel.reference is not None:
        axes.axhline(panel.reference, color="0.4", linestyle=":", linewidth=1)
        # Zero explains itself; other values are what a uniform map has.
        title += " (dotted: uniform)" if panel.reference else ""
    axes.set_title(title, fontsize=FONT)
    axes.set_ylabel(panel.y_label, fontsize=FONT)
    axes.set_xlabel(panel.x_label, fontsize=FONT)
    if panel.y_range is not None:
        axes.set_ylim(panel.y_range)


def _draw_boxes(axes, panel):
    both = any(entry.published_box for entry in panel.entries)
    shift = 0.21 if both else 0.0
    for position, entry in enumerate(panel.entries):
        if entry.box:
            _box(axes, position - shift, entry.box, entry.colour, True, bool(entry.published_box))
        if entry.published_box:
            _box(axes, position + shift, entry.published_box, entry.colour, False, False)
    count = len(panel.entries)
    axes.set_xticks(range(count), [_counted(entry) for entry in panel.entries])
    if count > 4:
        slant(axes, 40)
    axes.set(xlim=(-0.6, count - 0.4))


def _counted(entry):
    return entry.label if entry.count is None else f"{entry.label} ({entry.count})"


def _box(axes, position, box, colour, filled, number_below):
    mean, (low, median, high) = box
    axes.bar(
        position,
        high - low,
        _WIDTH,
        bottom=low,
        color=colour if filled else "white",
        alpha=0.55 if filled else 1.0,
        edgecolor=colour,
        linewidth=1.2,
    )
    half = _WIDTH / 2
    axes.hlines(median, position - half, position + half, color=colour, linewidth=1.2)
    axes.plot(position, mean, "o", ms=4, color=colour, mfc=colour if filled else "white")
    axes.annotate(
        f"{mean:.2f}".replace("0.", ".") if abs(mean) < 1 else f"{mean:.3g}",
        (position, min(low, mean) if number_below else max(high, mean)),
        xytext=(0, -3 if number_below else 3),
        textcoords="offset points",
        ha="center",
        va="top" if number_below else "bottom",
        fontsize=7,
        color="black" if filled else "0.45",
        # Legible where a neighbour's box is behind it.
        path_effects=[withStroke(linewidth=2, foreground="white")],
    )


def _draw_curves(axes, panel):
    for place, entry in enumerate(panel.entries):
        for curve, style in ((entry.published_curve, "--"), (entry.curve, "-")):
            if curve is None:
                continue
            # Thin dashes behind thick lines, and the first entry before the last.
            width, strength, layer = (1.0, 0.7, 2.0) if style == "--" else (1.7, 1.0, 2.5)
            layer += 0.4 * (1 - place / len(panel.entries))
            marker = {"marker": "o", "markersize": 3.5} if panel.markers else {}
            if marker and style == "--":
                marker["markerfacecolor"] = "white"
            x, y = curve
            look = {"color": entry.colour, "linewidth": width, "alpha": strength}
            axes.plot(x, y, style, zorder=layer, **look, **marker)
            if isinstance(x[0], str):
                slant(axes, 45)
            elif panel.markers and not panel.logarithmic:
                axes.set_xticks(np.unique(x))
    if panel.logarithmic:
        axes.set_xscale("log")
        values = np.unique([x for entry in panel.entries for x in _curves(entry)[0]])
        # Within a decade a logarithmic axis has no number at its powers of ten.
        if values[-1] < 10 * values[0]:
            axes.set_xticks(values, [f"{value:.3g}" for value in values])
            axes.set_xticks([], minor=True)
    axes.margins(x=0.03 if panel.markers else 0.01)


def _list_entries(axes, panels, ours, published):
    entries = [entry for panel in panels for entry in panel.entries if _curves(entry)]
    drawn = {entry.label: entry.colour for entry in entries}
    handles = [Line2D([], [], color=colour, linewidth=2) for colour in drawn.values()]
    labels = list(drawn)
    if any(entry.curve for entry in entries) and any(entry.published_curve for entry in entries):
        handles += [Line2D([], [], color="0.3", linestyle=style) for style in ("-", "--")]
        labels += [ours, published]
    # Beside the panels, where no point of a curve can be taken for a part of it.
    axes.legend(
        handles,
        labels,
        fontsize=SMALL,
        frameon=False,
        bbox_to_anchor=(1.0, 1.0),
        loc="upper left",
        handlelength=2.4,
    )


def _curves(entry):
    return entry.curve or entry.published_curve
