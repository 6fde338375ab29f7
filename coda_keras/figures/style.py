"""What all figures share: sizes of text, frames, pictures and the bar that explains colours."""

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colorbar import Colorbar
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

FONT = 10
SMALL = 8.5
# White pictures end somewhere too.
FRAME = {"edgecolor": "0.6", "linewidth": 0.6}
# From blue over white to red, the colours of `contribution_rgb`.
SIGNED_COLOURS = "bwr"

_INCHES_A_CHARACTER = 0.075


def light_frame(axes: Axes) -> None:
    """Takes away what a plot of curves does not need."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=SMALL)


def slant(axes: Axes, degrees: float) -> None:
    """Turns the names along the x axis, which then end below their ticks."""
    axes.tick_params(axis="x", rotation=degrees)
    for label in axes.get_xticklabels():
        label.set(ha="right", rotation_mode="anchor")


def show(axes: Axes, picture: np.ndarray) -> None:
    """Draws a picture pixel by pixel, in a thin frame, without ticks."""
    axes.imshow(picture, interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set(**FRAME)


def wrapped(text: str, inches: float) -> str:
    """Breaks lines of text of size `FONT` that are wider than so many inches."""
    width = max(8, int(inches / _INCHES_A_CHARACTER))
    return "\n".join(textwrap.fill(line, width) for line in text.split("\n"))


def colour_key(
    figure: Figure,
    axes: Sequence[Axes] | np.ndarray,
    scale: float,
    label: str,
    colours: str = SIGNED_COLOURS,
    size: float = FONT,
    **options: Any,
) -> Colorbar:
    """Draws a bar with the colours of values from `-scale` to `scale` beside the axes."""
    mappable = ScalarMappable(Normalize(-scale, scale), colours)
    bar = figure.colorbar(mappable, ax=axes, pad=0.02, **options)
    bar.set_label(label, fontsize=size)
    bar.ax.tick_params(labelsize=SMALL)
    return bar
