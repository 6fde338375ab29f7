"""Multi-images: several images put together to one, and the map of every class in it (Fig. 7)."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike

from coda_keras.figures.colours import contribution_rgb, shared_scale
from coda_keras.figures.images import image_rgb
from coda_keras.figures.quantities import CONTRIBUTION
from coda_keras.figures.rendering import Picture
from coda_keras.figures.style import FONT, SMALL, colour_key, show


def multi_image(
    image: ArrayLike,
    maps: ArrayLike,
    titles: Sequence[str],
    panel: float = 1.25,
    quantity: str = CONTRIBUTION,
) -> Figure:
    """Draws a multi-image beside the maps of its classes, all on one scale.

    The maps are arranged as the cells of the image; in each, the cell of its class is framed.

    Args:
        image: `(n*H, n*W, 3)`, uint8 or floats in [0, 1].
        maps: `(n*n, n*H, n*W)`, map k being that of the class in cell k, counted row by row.
        titles: n*n strings.
        panel: width of a map in inches.
        quantity: str, what the colour bar says the maps show.

    Returns:
        A matplotlib `Figure`.

    Raises:
        ValueError: if the numbers, or values of the image, do not fit.
    """
    maps = np.asarray(maps)
    n = round(len(maps) ** 0.5)
    if maps.ndim != 3 or n * n != len(maps) or len(titles) != len(maps):
        raise ValueError(
            "Expected n*n maps (n*n, height, width) and as many titles. "
            f"Received maps of shape {maps.shape} and {len(titles)} titles."
        )
    scale = shared_scale(maps)
    figure = Picture(
        figsize=(panel * n * 2 + 1.2, (panel + 0.22) * n),
        layout=ConstrainedLayoutEngine(w_pad=0.03, h_pad=0.03),
    )
    grid = figure.add_gridspec(n, 2 * n)
    whole = figure.add_subplot(grid[:, :n])
    show(whole, image_rgb(image))
    whole.set_title("multi-image", fontsize=FONT)
    height, width = maps.shape[1] / n, maps.shape[2] / n
    all_axes = []
    for cell, (values, title) in enumerate(zip(maps, titles)):
        row, column = divmod(cell, n)
        axes = figure.add_subplot(grid[row, n + column])
        show(axes, contribution_rgb(values, scale))
        corner = (column * width - 0.5, row * height - 0.5)
        axes.add_patch(Rectangle(corner, width, height, fill=False, edgecolor="black", lw=1.2))
        axes.set_title(title, fontsize=SMALL, pad=3)
        all_axes.append(axes)
    colour_key(figure, all_axes, scale, quantity, aspect=30)
    return figure
