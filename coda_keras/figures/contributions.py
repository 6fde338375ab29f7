"""Pictures of contribution maps: red speaks for the class, blue against it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike

from coda_keras.figures.colours import PERCENTILE, contribution_rgb, shared_scale
from coda_keras.figures.images import image_rgb
from coda_keras.figures.quantities import CONTRIBUTION
from coda_keras.figures.rendering import Picture
from coda_keras.figures.style import FONT, FRAME, colour_key, show, wrapped
from coda_keras.figures.weights import weights_rgb, weights_scale

WEIGHTS = "weights"

_GAP = 0.06
# Of the height of a figure, the bar of its colours.
_BAR = 0.9


def plot_contributions(
    image: ArrayLike,
    contribution_map: np.ndarray | Sequence[ArrayLike],
    titles: str | Sequence[str] | None = None,
    image_title: str = "",
    scale: float | None = None,
    percentile: float = PERCENTILE,
    colour_bar: bool = True,
    panel: float = 2.4,
    weights: np.ndarray | Sequence[ArrayLike] | None = None,
) -> Figure:
    """Draws an image beside its contribution map or maps, all on one scale.

    Args:
        image: `(H, W, 3)` or `(H, W, 6)` encoded, uint8 or floats in [0, 1].
        contribution_map: `(h, w)`, or a sequence or array of several.
        titles: one string a map (a string for a single map), or None.
        image_title: string.
        scale, percentile: as for `contribution_rgb`, over all the maps together.
        colour_bar: bool, whether to draw the scale, in logits.
        panel: width of a picture in inches.
        weights: rows of W_{0->L} `(h, w, 6)`, or a sequence or array of several, drawn right of
            the maps as `weights_rgba` colours them, over white; the `percentile` of all their
            norms is opaque. None for no such picture.

    Returns:
        A matplotlib `Figure`.

    Raises:
        ValueError: if shapes, values or the number of titles do not fit, such as contributions
            `(H, W, 6)` for a map.
    """
    maps = _maps(contribution_map, np.shape(image))
    rows = [] if weights is None else _several(weights, 3)
    titles = _titles([titles] if isinstance(titles, str) else titles, len(maps))
    scale = shared_scale(maps, percentile) if scale is None else scale
    pictures = [_one_rgb(image), *(contribution_rgb(values, scale) for values in maps)]
    if rows:
        opaque = weights_scale(rows, percentile)
        pictures += [weights_rgb(row, opaque) for row in rows]
    height, width = pictures[0].shape[:2]
    figure = Picture(
        figsize=(panel * len(pictures) + colour_bar, panel * height / width + 0.5),
        layout="compressed",
    )
    axes = figure.subplots(1, len(pictures), squeeze=False)[0]
    for axis, picture, title in zip(axes, pictures, [image_title, *titles, *[WEIGHTS] * len(rows)]):
        show(axis, picture)
        axis.set_title(wrapped(title, panel), fontsize=FONT)
    if colour_bar:
        _scale_bar(figure, axes, scale, CONTRIBUTION)
    return figure


def gallery(
    images: np.ndarray | Sequence[ArrayLike],
    contribution_maps: np.ndarray | Sequence[ArrayLike],
    titles: Sequence[str] | None = None,
    columns: int = 4,
    shared: bool = True,
    percentile: float = PERCENTILE,
    panel: float = 1.2,
    quantity: str = CONTRIBUTION,
    weights: np.ndarray | Sequence[ArrayLike] | None = None,
    note: str = "",
) -> Figure:
    """Draws images, each beside its contribution map, in a grid (Fig. 5 and A.1 of the paper).

    Args:
        images: `(N, H, W, 3)` or `(N, H, W, 6)` encoded, uint8 or floats in [0, 1]; or a sequence
            of such images.
        contribution_maps: `(N, h, w)`, or `(N, n, h, w)` for n maps beside each image; or a
            sequence.
        titles: N strings, or None.
        columns: int, images in a row.
        shared: bool; one colour scale for all maps and a colour bar, or one for each image.
        percentile: number in 0 to 100, at which the scale is taken.
        panel: width of a picture in inches.
        quantity: str, what the colour bar of a shared scale says the maps show.
        weights: rows of W_{0->L} `(N, h, w, 6)`, or `(N, m, h, w, 6)` for m of them right of the
            maps of each image; or a sequence. They are drawn as `weights_rgba` colours them, over
            white; what is opaque is shared like the colour scale. None for no such pictures.
        note: a sentence below the pictures.

    Returns:
        A matplotlib `Figure`.

    Raises:
        ValueError: if the numbers of images, maps, weights and titles differ, or are 0, or six
            channels are given for maps.
    """
    count = len(images)
    if count == 0 or len(contribution_maps) != count:
        raise ValueError(
            "Expected as many contribution maps as images, at least one. "
            f"Received {count} images and {len(contribution_maps)} maps."
        )
    if weights is not None and len(weights) != count:
        raise ValueError(
            f"Expected weights for each of {count} images. Received {len(weights)} of them."
        )
    titles = _titles(titles, count)
    maps = [_maps(values, np.shape(image)) for values, image in zip(contribution_maps, images)]
    rows = [[]] * count if weights is None else [_several(values, 3) for values in weights]
    scale = shared_scale(_flat(maps), percentile) if shared else None
    opaque = weights_scale(_flat(rows), percentile) if shared and rows[0] else None
    columns = min(columns, count)
    width = panel * (1 + (len(maps[0]) + len(rows[0])) * (1 + _GAP))
    lines = max(wrapped(title, width).count("\n") + bool(title) for title in titles)
    grid = (-(-count // columns), columns)
    figure = Picture(
        figsize=((width + 0.2) * columns + shared, (panel + 0.2 + 0.2 * lines) * grid[0]),
        layout=ConstrainedLayoutEngine(w_pad=0.08, compress=True),
    )
    axes = figure.subplots(*grid, squeeze=False)
    for axis in axes.ravel():
        axis.set_axis_off()
    for axis, image, values, of_image, title in zip(axes.ravel(), images, maps, rows, titles):
        own = shared_scale(values, percentile) if scale is None else scale
        pictures = [_one_rgb(image), *(contribution_rgb(map_, own) for map_ in values)]
        if of_image:
            own = weights_scale(of_image, percentile) if opaque is None else opaque
            pictures += [weights_rgb(row, own) for row in of_image]
        _draw_row(axis, pictures)
        axis.set_title(wrapped(title, width), fontsize=FONT)
    if shared:
        _scale_bar(figure, axes, scale, quantity)
    if note:
        inches = figure.get_size_inches()[0]
        figure.supxlabel(wrapped(note, inches), fontsize=FONT, x=0.01, ha="left")
    return figure


def _one_rgb(image):
    picture = image_rgb(image)
    if picture.ndim != 3:
        raise ValueError(
            f"Expected one image (height, width, 3 or 6). Received shape {np.shape(image)}."
        )
    return picture


def _maps(values, image_shape):
    """One map or several as a list; contributions `(H, W, 6)` would pass for H of them."""
    shape = () if isinstance(values, (list, tuple)) else np.shape(values)
    if shape == (*image_shape[:2], 6):
        raise ValueError(
            "Expected maps (height, width), summed over the channels. Received contributions of "
            f"shape {shape}; give `contribution_map`, or sum over the last axis."
        )
    return _several(values, 2)


def _several(values: Any, dimensions: int) -> list[Any]:
    """One array of so many dimensions, or several of them, as a list."""
    return [values] if np.ndim(values[0]) == dimensions - 1 else list(values)


def _flat(lists):
    return [values for of_image in lists for values in of_image]


def _titles(titles, count):
    titles = [""] * count if titles is None else [str(title) for title in titles]
    if len(titles) != count:
        raise ValueError(f"Expected {count} titles. Received {len(titles)}.")
    return titles


def _draw_row(axis, pictures):
    left = 0.0
    for picture in pictures:
        width = picture.shape[1] / picture.shape[0]
        axis.imshow(picture, extent=(left, left + width, 1, 0), interpolation="nearest")
        axis.add_patch(Rectangle((left, 0), width, 1, fill=False, **FRAME)).set_clip_on(False)
        left += width + _GAP
    axis.set(xlim=(0, left - _GAP), ylim=(1, 0))


def _scale_bar(figure, axes, scale, quantity):
    label = wrapped(quantity, _BAR * figure.get_size_inches()[1])
    bar = colour_key(figure, axes, scale, label, aspect=25, shrink=_BAR)
    bar.ax.ticklabel_format(style="sci", scilimits=(-2, 3), useMathText=True)
