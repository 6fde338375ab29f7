"""The metrics of Section 4.2: localisation, pixel removal, sanity check (Fig. 6, B.4)."""

from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from coda_keras.figures.style import FONT, SMALL, light_frame

ORDERS = {"least": "least important pixels first", "most": "most important pixels first"}


@dataclass(frozen=True)
class Entry:
    """One method, or one model, in a row of panels.

    Attributes:
        label: str.
        colour: a matplotlib colour.
        localisation: dict as by `Localisation.summary()`, or None.
        removal: dict from order to a dict as by `PixelRemoval.summary()`, or None.
        published_localisation, published_removal: the same of published results, or None.
    """

    label: str
    colour: str
    localisation: dict | None = None
    removal: dict | None = None
    published_localisation: dict | None = None
    published_removal: dict | None = None


@dataclass(frozen=True)
class Row:
    """A row of panels about the same entries.

    Attributes:
        title: str at the left.
        entries: sequence of `Entry`.
        localisation: bool, whether to draw the localisation.
        orders: which orders of pixel removal to draw, a panel each.
    """

    title: str
    entries: object
    localisation: bool = True
    orders: tuple = ("least",)


def metrics_figure(rows, ours="this run", published="published", panel=(4.6, 3.3)):
    """Draws rows of panels: localisation scores, then pixel removal curves.

    Filled boxes and solid lines are results of one's own, hollow boxes and dashed lines published
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
    counts = [row.localisation + len(row.orders) for row in rows]
    if not counts or not max(counts) or not all(row.entries for row in rows):
        raise ValueError("Expected at least one row with entries and panels. Received none.")
    figure = Figure(
        figsize=(panel[0] * max(counts), panel[1] * len(rows) + 0.3), layout="constrained"
    )
    figure.get_layout_engine().set(h_pad=0.08, w_pad=0.08)
    for part, row, count in zip(_parts(figure, len(rows)), rows, counts):
        part.suptitle(row.title, fontsize=FONT + 1)
        panels = list(part.subplots(1, count, squeeze=False)[0])
        if row.localisation:
            _localisation(panels.pop(0), row.entries)
        for axes, order in zip(panels, row.orders):
            _removal(axes, row.entries, order, ours, published)
        # One list of the entries for all the panels of a row.
        _entry_legend(panels[-1] if panels else None, row.entries, row.orders)
    return figure


def similarity_figure(steps, similarities, panel=(4.6, 3.3)):
    """Draws how alike maps stay while a model's layers are re-initialised (sanity check).

    Args:
        steps: S strings, what each step re-initialises.
        similarities: dict from panel title to a dict from label to `(colour, S means)`.
        panel: width and height of a panel in inches.

    Returns:
        A matplotlib `Figure`.
    """
    figure = Figure(figsize=(panel[0] * len(similarities), panel[1]), layout="constrained")
    all_axes = figure.subplots(1, len(similarities), sharey=True, squeeze=False)[0]
    positions = np.arange(1 + len(steps))
    for axes, (title, curves) in zip(all_axes, similarities.items()):
        light_frame(axes)
        for label, (colour, values) in curves.items():
            axes.plot(positions, [1, *values], "o-", ms=3, lw=1.4, color=colour, label=label)
        axes.axhline(0, color="0.5", linewidth=0.8)
        axes.set_title(title, fontsize=FONT)
        axes.set_xticks(positions, ["none", *steps], rotation=45, ha="right")
        axes.set_xlabel("re-initialised, down to", fontsize=FONT)
    all_axes[0].set_ylabel("similarity to the intact map", fontsize=FONT)
    all_axes[-1].legend(fontsize=SMALL, frameon=False, bbox_to_anchor=(1, 1), loc="upper left")
    return figure


def windows_figure(curves, chance, panel=(4.6, 3.3)):
    """Draws the localisation of maps that were averaged over windows, by the windows' size.

    Args:
        curves: dict from label to `(colour, means)`, means being a dict from window size in
            pixels (str or int) to localisation, as `Localisation.summary()` has it.
        chance: float, the localisation of a uniform map.
        panel: width and height in inches, the legend not counted.

    Returns:
        A matplotlib `Figure`.
    """
    figure = Figure(figsize=(panel[0] + 1.2, panel[1]), layout="constrained")
    axes = figure.subplots()
    light_frame(axes)
    for label, (colour, means) in curves.items():
        sizes = [int(size) for size in means]
        axes.plot(sizes, list(means.values()), "o-", ms=4, lw=1.7, color=colour, label=label)
    axes.axhline(chance, color="0.4", linestyle=":", linewidth=1)
    axes.set_xticks(sorted({int(size) for _, means in curves.values() for size in means}))
    axes.set(ylim=(0, 1.02))
    axes.set_xlabel("maps averaged over windows of KxK pixels, K", fontsize=FONT)
    axes.set_ylabel("localisation", fontsize=FONT)
    axes.set_title("attribution in the right cell (dotted: uniform)", fontsize=FONT)
    axes.legend(fontsize=SMALL, frameon=False, bbox_to_anchor=(1, 1), loc="upper left")
    return figure


def _parts(figure, count):
    return [figure] if count == 1 else list(figure.subfigures(count, 1))


def _localisation(axes, entries):
    light_frame(axes)
    both = any(entry.published_localisation for entry in entries)
    shift = 0.21 if both else 0.0
    chance = None
    for position, entry in enumerate(entries):
        if entry.localisation:
            chance = entry.localisation.get("chance", chance)
            below = bool(entry.published_localisation)
            _box(axes, position - shift, entry.localisation, entry.colour, True, below)
        if entry.published_localisation:
            _box(axes, position + shift, entry.published_localisation, entry.colour, False, False)
    if chance is not None:
        axes.axhline(chance, color="0.4", linestyle=":", linewidth=1)
    axes.set_xticks(range(len(entries)), [entry.label for entry in entries])
    axes.tick_params(axis="x", rotation=40 if len(entries) > 4 else 0)
    if len(entries) > 4:
        for label in axes.get_xticklabels():
            label.set(ha="right", rotation_mode="anchor")
    axes.set(xlim=(-0.6, len(entries) - 0.4), ylim=(0, 1.08))
    axes.set_yticks(np.linspace(0, 1, 6))
    axes.set_ylabel("localisation", fontsize=FONT)
    title = "attribution in the right cell"
    axes.set_title(title + (" (dotted: uniform)" if chance else ""), fontsize=FONT)


def _box(axes, position, summary, colour, filled, number_below):
    low, median, high = summary["percentiles_25_50_75"]
    width = 0.34
    axes.bar(
        position,
        high - low,
        width,
        bottom=low,
        color=colour if filled else "white",
        alpha=0.55 if filled else 1.0,
        edgecolor=colour,
        linewidth=1.2,
    )
    axes.hlines(median, position - width / 2, position + width / 2, color=colour, linewidth=1.2)
    axes.plot(position, summary["mean"], "o", ms=4, color=colour, mfc=colour if filled else "white")
    axes.annotate(
        f"{summary['mean']:.2f}".removeprefix("0"),
        (position, min(low, summary["mean"]) if number_below else max(high, summary["mean"])),
        xytext=(0, -3 if number_below else 3),
        textcoords="offset points",
        ha="center",
        va="top" if number_below else "bottom",
        fontsize=7,
        color="black" if filled else "0.45",
    )


def _removal(axes, entries, order, ours, published):
    light_frame(axes)
    kinds = []
    for entry in entries:
        for removal, style, kind in (
            (entry.published_removal, "--", published),
            (entry.removal, "-", ours),
        ):
            summary = (removal or {}).get(order)
            if summary is None:
                continue
            percent = 100 * np.linspace(*summary["fraction_removed"], summary["points"])
            curve = summary["mean_target_probability"]
            width, strength = (1.0, 0.7) if style == "--" else (1.7, 1.0)
            axes.plot(percent, curve, style, color=entry.colour, linewidth=width, alpha=strength)
            kinds.append((style, kind))
    if len(set(kinds)) > 1:
        handles = [Line2D([], [], color="0.3", linestyle=style) for style in ("-", "--")]
        axes.legend(
            handles, (ours, published), fontsize=SMALL, frameon=False, loc="best", handlelength=2.4
        )
    axes.set(ylim=(0, 1.02), xlabel="pixels removed (%)")
    axes.margins(x=0.01)
    axes.xaxis.label.set_fontsize(FONT)
    axes.set_ylabel("probability of the class", fontsize=FONT)
    axes.set_title(ORDERS[order], fontsize=FONT)


def _entry_legend(axes, entries, orders):
    if axes is None:
        return
    drawn = [
        entry
        for entry in entries
        if any(order in (entry.removal or entry.published_removal or {}) for order in orders)
    ]
    handles = [Line2D([], [], color=entry.colour, linewidth=2) for entry in drawn]
    legend = axes.get_legend()
    axes.legend(
        handles,
        [entry.label for entry in drawn],
        fontsize=SMALL,
        frameon=False,
        bbox_to_anchor=(1.0, 1.0),
        loc="upper left",
    )
    if legend is not None:
        axes.add_artist(legend)
