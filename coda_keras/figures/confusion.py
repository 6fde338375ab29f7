"""Which class is taken for which."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from coda_keras.figures.rendering import Picture
from coda_keras.figures.style import FONT, SMALL, slant

# More names than these cannot be read.
MOST_NAMES = 40
MOST_NUMBERS = 12
_COLOURS = "Blues"


def confusion_matrix(counts: ArrayLike, class_names: Sequence[str], size: float = 4.2) -> Figure:
    """Draws a confusion matrix: of the images of every class, the share by predicted class.

    Args:
        counts: `(classes, classes)`, not negative; row k has the images of class k.
        class_names: names of the classes.
        size: of the matrix in inches.

    Returns:
        A matplotlib `Figure`.

    Raises:
        ValueError: if counts and names do not fit, or counts are negative or NaN.
    """
    counts = np.asarray(counts, "float64")
    count = len(class_names)
    if counts.shape != (count, count) or not np.all(counts >= 0):
        raise ValueError(
            f"Expected counts ({count}, {count}), a row and a column for each class name, none "
            f"negative. Received shape {counts.shape}."
        )
    images = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, images, out=np.zeros_like(counts), where=images > 0)
    figure = Picture(figsize=(size + 1.2, size + 1.0), layout="constrained")
    axes = figure.subplots()
    axes.imshow(shares, cmap=_COLOURS, vmin=0, vmax=1, interpolation="nearest")
    axes.set_xlabel("predicted", fontsize=FONT)
    axes.set_ylabel("true", fontsize=FONT)
    if count <= MOST_NAMES:
        size = FONT if count <= MOST_NUMBERS else 6
        axes.set_xticks(range(count), class_names)
        if max(len(name) for name in class_names) > 2:
            slant(axes, 60)
        axes.set_yticks(range(count), class_names)
        axes.tick_params(labelsize=size, length=0)
    if count <= MOST_NUMBERS:
        for (row, column), share in np.ndenumerate(shares):
            if share >= 0.005:
                colour = "white" if share > 0.5 else "black"
                text = f"{100 * share:.0f}"
                axes.text(column, row, text, color=colour, fontsize=SMALL, ha="center", va="center")
    of = "% of the images of each class" if count <= MOST_NUMBERS else "share of each class"
    axes.set_title(of, fontsize=FONT)
    return figure
