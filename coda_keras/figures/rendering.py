"""Figures as arrays and as files."""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox
from PIL import Image

from coda_keras.utils.files import replacing

FORMATS = ("pdf", "png", "svg")


class Picture(Figure):
    """A matplotlib figure that notebooks show where it ends a cell, with no magic line before."""

    def _repr_png_(self) -> bytes:
        return figure_png(self)


# Inches around what is drawn.
_MARGIN = 0.05


def figure_rgb(figure: Figure, dpi: float = 100) -> np.ndarray:
    """Renders a figure: uint8 `(height, width, 3)`, nothing clipped."""
    with Image.open(io.BytesIO(figure_png(figure, dpi))) as picture:
        return np.asarray(picture.convert("RGB"))


def figure_png(figure: Figure, dpi: float = 100) -> bytes:
    """Renders a figure as a PNG file, nothing clipped."""
    buffer = io.BytesIO()
    with _laid_out(figure, dpi) as extent:
        figure.savefig(buffer, format="png", dpi=dpi, bbox_inches=extent)
    return buffer.getvalue()


def save_figure(figure: Figure, path: str | Path | Sequence[str | Path], dpi: float = 150) -> None:
    """Writes a figure as PNG, PDF or SVG, after the suffix of `path`.

    A file appears complete or not at all; missing folders are made.

    Args:
        figure: of matplotlib.
        path: of the file; several paths for several formats, which takes less time than to write
            one after the other.
        dpi: pixels an inch of a PNG.

    Raises:
        ValueError: for another suffix.
    """
    paths = [Path(path)] if isinstance(path, (str, Path)) else [Path(one) for one in path]
    for path in paths:
        check_format(path)
    with _laid_out(figure, dpi) as extent:
        for path in paths:
            with replacing(path) as temporary:
                suffix = path.suffix[1:].lower()
                figure.savefig(temporary, format=suffix, dpi=dpi, bbox_inches=extent)


def check_format(path: Path) -> None:
    """Raises ValueError unless a name ends as those of figures do."""
    if path.suffix[1:].lower() not in FORMATS:
        raise ValueError(f"Expected a file name ending in one of {FORMATS}. Received: {path}.")


@contextmanager
def _laid_out(figure: Figure, dpi: float) -> Iterator[Bbox]:
    """Lays a figure out once for all that is rendered within, and yields its extent in inches.

    By itself matplotlib draws a figure and lays it out once more for each format, to know that.
    """
    engine, own_dpi = figure.get_layout_engine(), figure.dpi
    figure.dpi = dpi
    if engine is not None:
        engine.execute(figure)
    figure.set_layout_engine(None)
    try:
        yield figure.get_tightbbox().padded(_MARGIN)
    finally:
        figure.set_layout_engine(engine)
        figure.dpi = own_dpi
