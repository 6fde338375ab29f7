"""The colours of contributions: red speaks for the class, blue against it."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

# Supplement A of the paper clips the colours there.
PERCENTILE = 99.75


def shared_scale(maps: np.ndarray | Sequence[ArrayLike], percentile: float = PERCENTILE) -> float:
    """Returns one colour scale for several maps: the given percentile of all their magnitudes.

    Args:
        maps: array `(..., H, W)`, or a sequence of arrays of any shapes.
        percentile: number in 0 to 100.

    Returns:
        A positive float. Where the percentile is 0 because nearly all values are, it is the
        largest magnitude, and 1.0 for maps of zeros only.

    Raises:
        ValueError: for NaN, infinite or no values.

    Example:

    >>> shared_scale([np.array([[0.0, 1.0]]), np.array([[-3.0]])], percentile=100)
    3.0
    """
    if isinstance(maps, np.ndarray):
        maps = [maps]
    values = [np.abs(finite(values)).ravel() for values in maps]
    values = np.concatenate(values) if values else np.empty(0)
    if values.size == 0:
        raise ValueError("Expected at least one contribution map. Received none, or empty ones.")
    return float(np.percentile(values, percentile)) or float(values.max()) or 1.0


def contribution_rgb(
    contribution_map: ArrayLike, scale: ArrayLike | None = None, percentile: float = PERCENTILE
) -> np.ndarray:
    """Colours contributions: white for 0, to full red at `scale`, to full blue at `-scale`.

    Args:
        contribution_map: `(..., H, W)`, contributions in logits.
        scale: positive number, or an array of them that broadcasts to the map; None for the
            `percentile` of all magnitudes given.
        percentile: number in 0 to 100, used where `scale` is None.

    Returns:
        uint8 `(..., H, W, 3)`, RGB.

    Raises:
        ValueError: for NaN or infinite contributions, or a scale that is not positive.

    Example:

    >>> contribution_rgb(np.array([[2.0, 0.0, -1.0]]), scale=2.0).tolist()
    [[[255, 0, 0], [255, 255, 255], [128, 128, 255]]]
    """
    values = finite(contribution_map)
    if values.ndim < 2:
        raise ValueError(f"Expected maps (..., height, width). Received shape {values.shape}.")
    scale = shared_scale(values, percentile) if scale is None else checked_scale(scale)
    strength = np.clip(values / scale, -1.0, 1.0)
    colour = np.stack(
        [1 + np.minimum(strength, 0), 1 - np.abs(strength), 1 - np.maximum(strength, 0)], axis=-1
    )
    return np.rint(255 * colour).astype("uint8")


def checked_scale(scale: ArrayLike) -> np.ndarray:
    """Returns a scale, or several, as float64, or raises `ValueError`."""
    scale = np.asarray(scale, "float64")
    if not np.all(scale > 0):
        raise ValueError(f"`scale` must be positive. Received: scale={scale!r}.")
    return scale


def finite(values: ArrayLike, name: str = "Contribution maps") -> np.ndarray:
    """Returns values as float64, or raises `ValueError` for NaN and infinite ones."""
    values = np.asarray(values, "float64")
    if not np.all(np.isfinite(values)):
        raise ValueError(f"{name} must be finite. Received NaN or infinite values.")
    return values
