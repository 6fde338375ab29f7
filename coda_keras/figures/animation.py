"""Videos explained frame by frame, as animated GIFs."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from PIL import Image

from coda_keras.figures.colours import contribution_rgb, shared_scale
from coda_keras.figures.images import image_rgb
from coda_keras.figures.quantities import CONTRIBUTION
from coda_keras.figures.style import FONT, SIGNED_COLOURS, SMALL, wrapped
from coda_keras.utils.files import replacing

_GAP = 4


def animation_frames(
    frames: ArrayLike,
    maps: ArrayLike,
    scale: float | None = None,
    height: int = 256,
    title: str | None = None,
    quantity: str = CONTRIBUTION,
) -> np.ndarray:
    """Puts every frame beside its map, all maps on one scale, enlarged without smoothing.

    Args:
        frames: `(T, H, W, 3)`, uint8 or floats in [0, 1].
        maps: `(T, H, W)`.
        scale: positive number, None for the 99.75th percentile over all the maps.
        height: int, least height of the pictures in pixels.
        title: str, what is explained, written below beside the colours of the scale; None for
            nothing below.
        quantity: str, what the maps show.

    Returns:
        uint8 `(T, h, w, 3)`.

    Raises:
        ValueError: if frames and maps, or values of the frames, do not fit.
    """
    frames, maps = np.asarray(frames), np.asarray(maps)
    if frames.ndim != 4 or not len(frames) or maps.shape != frames.shape[:3]:
        raise ValueError(
            "Expected frames (T, H, W, 3) and a map (H, W) for each. "
            f"Received shapes {frames.shape} and {maps.shape}."
        )
    factor = max(1, -(-height // frames.shape[1]))
    scale = shared_scale(maps) if scale is None else scale
    left, right = image_rgb(frames), contribution_rgb(maps, scale)
    left, right = (part.repeat(factor, axis=1).repeat(factor, axis=2) for part in (left, right))
    gap = np.full((*left.shape[:2], _GAP, 3), 255, "uint8")
    pictures = np.concatenate([left, gap, right], axis=2)
    if title is None:
        return pictures
    below = _legend(pictures.shape[2], title, scale, quantity)
    return np.concatenate([pictures, below[None].repeat(len(pictures), axis=0)], axis=1)


def _legend(width, title, scale, quantity):
    """A strip `(h, width, 3)` with the title and the colours of the scale."""
    figure = Figure(figsize=(width / 100, 0.72), dpi=100)
    figure.text(0.02, 0.5, wrapped(title, 0.4 * width / 100), fontsize=FONT + 1, va="center")
    axes = figure.add_axes((0.5, 0.6, 0.44, 0.2))
    bar = ScalarMappable(Normalize(-scale, scale), SIGNED_COLOURS)
    bar = figure.colorbar(bar, cax=axes, orientation="horizontal", ticks=[-scale, 0, scale])
    bar.ax.set_xticklabels([f"{-scale:.2g}", "0", f"{scale:.2g}"])
    bar.ax.tick_params(labelsize=SMALL, length=2)
    bar.set_label(quantity, fontsize=SMALL, labelpad=1)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]


def save_gif(
    frames: Iterable[np.ndarray], path: str | Path, seconds_per_frame: float = 0.12
) -> None:
    """Writes frames `(T, h, w, 3)`, uint8, as an endless animated GIF, atomically."""
    pictures = [Image.fromarray(frame) for frame in frames]
    with replacing(path) as temporary:
        pictures[0].save(
            temporary,
            format="GIF",
            save_all=True,
            append_images=pictures[1:],
            duration=round(1000 * seconds_per_frame),
            loop=0,
        )
