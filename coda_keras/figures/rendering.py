"""Figures as arrays and as files."""

import io
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from coda_keras.utils.files import replacing

FORMATS = ("pdf", "png", "svg")


class Picture(Figure):
    """A matplotlib figure that notebooks show where it ends a cell, with no magic line before."""

    def _repr_png_(self) -> bytes:
        return figure_png(self)


_WHOLE = {"bbox_inches": "tight", "pad_inches": 0.05}


def figure_rgb(figure: Figure, dpi: float = 100) -> np.ndarray:
    """Renders a figure: uint8 `(height, width, 3)`, nothing clipped."""
    with Image.open(io.BytesIO(figure_png(figure, dpi))) as picture:
        return np.asarray(picture.convert("RGB"))


def figure_png(figure: Figure, dpi: float = 100) -> bytes:
    """Renders a figure as a PNG file, nothing clipped."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, **_WHOLE)
    return buffer.getvalue()


def save_figure(figure: Figure, path: str | Path, dpi: float = 150) -> None:
    """Writes a figure as PNG, PDF or SVG, after the suffix of `path`.

    The file appears complete or not at all; missing folders are made.

    Raises:
        ValueError: for another suffix.
    """
    path = Path(path)
    suffix = path.suffix[1:].lower()
    if suffix not in FORMATS:
        raise ValueError(f"Expected a file name ending in one of {FORMATS}. Received: {path}.")
    with replacing(path) as temporary:
        figure.savefig(temporary, format=suffix, dpi=dpi, **_WHOLE)
