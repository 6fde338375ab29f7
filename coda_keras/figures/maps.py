"""Tables of maps: a row for every image, a column for every model, method or layer."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from numpy.typing import ArrayLike

from coda_keras.figures.colours import PERCENTILE, contribution_rgb, shared_scale
from coda_keras.figures.images import image_rgb
from coda_keras.figures.rendering import Picture
from coda_keras.figures.style import FONT, SIGNED_COLOURS, SMALL, colour_key, show, wrapped

OWN_COLOURS = "jet"
SCALES = ("map", "row", "all")


@dataclass(frozen=True, eq=False)
class Column:
    """A column of a table.

    Attributes:
        title: str above the column.
        maps: N maps `(h, w)`; sizes may differ between columns.
        captions: N strings below the maps, or None.
        signed: bool. Signed maps are drawn from blue over white (0) to red; others, such as those
            of RISE, in colours of their own from their smallest to their largest value. Or N of
            them, where the rows differ.
        pictures: bool, whether the maps are pictures `(h, w, 3)`, shown as they are.
    """

    title: str
    maps: np.ndarray | Sequence[ArrayLike]
    captions: Sequence[str] | None = None
    signed: bool | Sequence[bool] = True
    pictures: bool = False

    def is_signed(self, row: int) -> bool:
        """Whether the map of a row is drawn from blue over white to red."""
        signed = self.signed if isinstance(self.signed, bool) else self.signed[row]
        return bool(signed) and not self.pictures


def map_table(
    images: np.ndarray | Sequence[ArrayLike],
    columns: Sequence[Column],
    row_titles: Sequence[str] | None = None,
    scale: str | float = "map",
    explained: str = "the class",
    panel: float = 1.15,
    ends: tuple[str, str] = ("against", "for"),
) -> Figure:
    """Draws images and beside each a map of every column.

    Args:
        images: `(N, H, W, 3)`, uint8 or floats in [0, 1], or a sequence of such images.
        columns: sequence of `Column`.
        row_titles: N strings at the left of the rows, or None.
        scale: `"map"`, `"row"` or `"all"`: which signed maps share a colour scale, the 99.75th
            percentile of their magnitudes; or a number, the full colour of all of them. Maps in
            different units can share none.
        explained: str, what red speaks for and blue against.
        panel: width of a picture in inches.
        ends: str of blue and of red beside their bar.

    Returns:
        A matplotlib `Figure`.

    Raises:
        ValueError: if the numbers of images, maps, captions or titles differ, or are 0, or the
            values of an image do not fit.
    """
    count = len(images)
    _check(count, columns, row_titles, scale)
    signed = [[c.maps[row] for c in columns if c.is_signed(row)] for row in range(count)]
    captions = 0.16 * any(column.captions is not None for column in columns)
    lines = 1 + max(column.title.count("\n") for column in columns)
    height, width = np.shape(images[0])[:2]
    figure = Picture(
        figsize=(
            (panel + 0.06) * (1 + len(columns)) + 0.3 * (row_titles is not None),
            (panel * height / width + 0.06 + captions) * count + 0.18 * lines + 0.6,
        ),
        layout=ConstrainedLayoutEngine(
            w_pad=0.02, h_pad=0.02, wspace=0.02, hspace=0.02, compress=True
        ),
    )
    axes = figure.subplots(count, 1 + len(columns), squeeze=False)
    overall = shared_scale([map_ for maps in signed for map_ in maps]) if any(signed) else 1.0
    for row in range(count):
        show(axes[row, 0], image_rgb(images[row]))
        if row_titles is not None:
            axes[row, 0].set_ylabel(row_titles[row], fontsize=FONT)
        of_row = shared_scale(signed[row]) if signed[row] else 1.0
        scales = {"map": None, "row": of_row, "all": overall}
        for axis, column in zip(axes[row, 1:], columns):
            values = column.maps[row]
            own = scales[scale] if isinstance(scale, str) else scale
            if column.pictures:
                show(axis, image_rgb(values))
            else:
                by_sign = column.is_signed(row)
                show(axis, contribution_rgb(values, own) if by_sign else _own_colours(values))
            if column.captions is not None:
                axis.set_xlabel(column.captions[row], fontsize=SMALL, labelpad=2)
    for axis, title in zip(axes[0], ["input", *(column.title for column in columns)]):
        axis.set_title(title, fontsize=FONT, pad=4)
    unsigned = _unsigned(columns, row_titles, count)
    _colour_keys(figure, axes, any(signed), unsigned, scale, explained, panel, ends)
    return figure


def _check(count, columns, row_titles, scale):
    lengths = {len(column.maps) for column in columns}
    lengths |= {len(column.captions) for column in columns if column.captions is not None}
    lengths |= {len(c.signed) for c in columns if not isinstance(c.signed, bool)}
    lengths |= set() if row_titles is None else {len(row_titles)}
    if not count or not columns or lengths != {count}:
        raise ValueError(
            "Expected at least one image and column, and a map, caption and row title for each "
            f"image. Received {count} images, {len(columns)} columns and lengths {sorted(lengths)}."
        )
    if scale not in SCALES and isinstance(scale, str):
        raise ValueError(f"Unknown `scale`: {scale!r}. Expected a number or one of {SCALES}.")


def _unsigned(columns, row_titles, count):
    """Names of the columns, or rows, that are drawn in colours of their own."""
    drawn = [column for column in columns if not column.pictures]
    names = [c.title for c in drawn if not any(c.is_signed(row) for row in range(count))]
    if row_titles is not None and not names:
        rows = [row for row in range(count) if any(not c.is_signed(row) for c in drawn)]
        names = [row_titles[row] for row in rows]
    return names


def _own_colours(values):
    values = np.asarray(values, "float64")
    spread = np.ptp(values)
    return colormaps[OWN_COLOURS]((values - values.min()) / (spread if spread else 1))[..., :3]


def _colour_keys(figure, axes, any_signed, own, scale, explained, panel, ends):
    keys = []
    if any_signed:
        shared = {"map": "each map", "row": "each row", "all": "all maps"}
        if isinstance(scale, str):
            full = f"{PERCENTILE}th percentile of {shared[scale]}"
        else:
            full = f"{scale:.2g} logits"
        text = f"{explained} (full colour: {full})"
        keys.append((SIGNED_COLOURS, text, (-1, 0, 1), (ends[0], "0", ends[1])))
    if own:
        keys.append((OWN_COLOURS, ", ".join(own), (-1, 1), ("lowest", "highest")))
    width = axes.shape[1]
    for index, (name, text, ticks, labels) in enumerate(keys):
        part = slice(index * width // len(keys), (index + 1) * width // len(keys))
        bar = colour_key(
            figure,
            list(axes[:, part].ravel()),
            1,
            wrapped(text, max(2.0, panel * width / len(keys))),
            name,
            SMALL,
            location="bottom",
            ticks=ticks,
            shrink=min(1.0, 2.4 / (width / len(keys))),
            aspect=22,
        )
        bar.ax.set_xticklabels(labels)
        bar.ax.tick_params(length=2)
