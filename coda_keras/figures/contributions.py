"""Pictures of contribution maps: red speaks for the class, blue against it."""

import textwrap

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from coda_keras.figures.colours import PERCENTILE, contribution_rgb, shared_scale

CONTRIBUTION = "contribution (logits)"
INPUT_X_GRADIENT = "input x gradient (logits)"

_GAP = 0.06
_FONT = 10
_INCHES_A_CHARACTER = 0.075


def plot_contributions(
    image,
    contribution_map,
    titles=None,
    image_title="",
    scale=None,
    percentile=PERCENTILE,
    colour_bar=True,
    panel=2.4,
):
    """Draws an image beside its contribution map or maps, all on one scale.

    Args:
        image: `(H, W, 3)` in [0, 1], or `(H, W, 6)` encoded.
        contribution_map: `(h, w)`, or a sequence or array of several.
        titles: one string a map (a string for a single map), or None.
        image_title: string.
        scale, percentile: as for `contribution_rgb`, over all the maps together.
        colour_bar: bool, whether to draw the scale, in logits.
        panel: width of a picture in inches.

    Returns:
        A matplotlib `Figure`.

    Raises:
        ValueError: if shapes, values or the number of titles do not fit.
    """
    maps = [contribution_map] if np.ndim(contribution_map[0]) == 1 else list(contribution_map)
    titles = _titles([titles] if isinstance(titles, str) else titles, len(maps))
    scale = shared_scale(maps, percentile) if scale is None else scale
    pictures = [_rgb(image), *(contribution_rgb(values, scale) for values in maps)]
    height, width = pictures[0].shape[:2]
    figure = Figure(
        figsize=(panel * len(pictures) + colour_bar, panel * height / width + 0.5),
        layout="compressed",
    )
    axes = figure.subplots(1, len(pictures), squeeze=False)[0]
    for axis, picture, title in zip(axes, pictures, [image_title, *titles]):
        axis.imshow(picture, interpolation="nearest")
        axis.set(xticks=[], yticks=[])
        axis.set_title(_wrapped(title, panel), fontsize=_FONT)
    if colour_bar:
        _colour_bar(figure, list(axes), scale)
    return figure


def gallery(
    images,
    contribution_maps,
    titles=None,
    columns=4,
    shared=True,
    percentile=PERCENTILE,
    panel=1.2,
    quantity=CONTRIBUTION,
):
    """Draws images, each beside its contribution map, in a grid (Fig. 5 and A.1 of the paper).

    Args:
        images: `(N, H, W, 3)` in [0, 1], or `(N, H, W, 6)` encoded; or a sequence of such images.
        contribution_maps: `(N, h, w)`, or `(N, n, h, w)` for n maps beside each image; or a
            sequence.
        titles: N strings, or None.
        columns: int, images in a row.
        shared: bool; one colour scale for all maps and a colour bar, or one for each image.
        percentile: number in 0 to 100, at which the scale is taken.
        panel: width of a picture in inches.
        quantity: str, what the colour bar of a shared scale says the maps show.

    Returns:
        A matplotlib `Figure`.

    Raises:
        ValueError: if the numbers of images, maps and titles differ, or are 0.
    """
    count = len(images)
    if count == 0 or len(contribution_maps) != count:
        raise ValueError(
            "Expected as many contribution maps as images, at least one. "
            f"Received {count} images and {len(contribution_maps)} maps."
        )
    titles = _titles(titles, count)
    scale = shared_scale(contribution_maps, percentile) if shared else None
    columns = min(columns, count)
    rows = -(-count // columns)
    maps = [values if np.ndim(values) == 3 else [values] for values in contribution_maps]
    width = panel * (1 + len(maps[0]) * (1 + _GAP))
    lines = max(_wrapped(title, width).count("\n") + bool(title) for title in titles)
    figure = Figure(
        figsize=((width + 0.2) * columns + shared, (panel + 0.2 + 0.2 * lines) * rows),
        layout="compressed",
    )
    figure.get_layout_engine().set(w_pad=0.08)
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.ravel():
        axis.set_axis_off()
    for axis, image, values, title in zip(axes.ravel(), images, maps, titles):
        own = shared_scale(values, percentile) if scale is None else scale
        _draw_row(axis, [_rgb(image), *(contribution_rgb(each, own) for each in values)])
        axis.set_title(_wrapped(title, width), fontsize=_FONT)
    if shared:
        _colour_bar(figure, axes, scale, quantity)
    return figure


def _rgb(image):
    image = np.asarray(image)
    if image.ndim != 3 or image.shape[-1] not in (3, 6):
        raise ValueError(
            f"Expected an image (height, width, 3) or (height, width, 6). "
            f"Received shape {image.shape}."
        )
    image = image[..., :3].astype("float64")
    # A little slack: interpolation and rounding leave values such as 1 + 1e-7.
    if not np.all((image >= -1e-3) & (image <= 1 + 1e-3)):
        raise ValueError(
            f"Expected image values in [0, 1]. Received {image.min()} to {image.max()}; "
            "divide 8-bit images by 255."
        )
    return np.rint(255 * np.clip(image, 0, 1)).astype("uint8")


def _titles(titles, count):
    titles = [""] * count if titles is None else [str(title) for title in titles]
    if len(titles) != count:
        raise ValueError(f"Expected {count} titles. Received {len(titles)}.")
    return titles


def _wrapped(title, inches):
    width = max(8, int(inches / _INCHES_A_CHARACTER))
    return "\n".join(textwrap.fill(line, width) for line in title.split("\n"))


def _draw_row(axis, pictures):
    left = 0.0
    for picture in pictures:
        width = picture.shape[1] / picture.shape[0]
        axis.imshow(picture, extent=(left, left + width, 1, 0), interpolation="nearest")
        frame = Rectangle((left, 0), width, 1, fill=False, edgecolor="0.6", linewidth=0.6)
        axis.add_patch(frame).set_clip_on(False)
        left += width + _GAP
    axis.set(xlim=(0, left - _GAP), ylim=(1, 0))


def _colour_bar(figure, axes, scale, quantity=CONTRIBUTION):
    mappable = ScalarMappable(Normalize(-scale, scale), "bwr")
    bar = figure.colorbar(mappable, ax=axes, aspect=25, shrink=0.9, pad=0.02)
    bar.set_label(quantity, fontsize=_FONT)
    bar.ax.ticklabel_format(style="sci", scilimits=(-2, 3), useMathText=True)
