"""Videos explained frame by frame, as animated GIFs."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image

from coda_keras.figures.colours import contribution_rgb, shared_scale
from coda_keras.figures.images import image_rgb
from coda_keras.files import replacing

_GAP = 4


def animation_frames(
    frames: ArrayLike, maps: ArrayLike, scale: float | None = None, height: int = 256
) -> np.ndarray:
    """Puts every frame beside its map, all maps on one scale, enlarged without smoothing.

    Args:
        frames: `(T, H, W, 3)`, uint8 or floats in [0, 1].
        maps: `(T, H, W)`.
        scale: positive number, None for the 99.75th percentile over all the maps.
        height: int, least height of the result in pixels.

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
    left = image_rgb(frames)
    right = contribution_rgb(maps, shared_scale(maps) if scale is None else scale)
    left, right = (part.repeat(factor, axis=1).repeat(factor, axis=2) for part in (left, right))
    gap = np.full((*left.shape[:2], _GAP, 3), 255, "uint8")
    return np.concatenate([left, gap, right], axis=2)


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
