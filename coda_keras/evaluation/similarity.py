"""How alike two attribution maps are."""

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.stats import spearmanr
from skimage.metrics import structural_similarity


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Returns Spearman's rank correlation of two maps; 0 where one of them is constant."""
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    return float(spearmanr(np.ravel(a), np.ravel(b)).statistic)


def ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Returns the structural similarity of two maps `(H, W)` with values in [0, 1]."""
    window = min(7, *a.shape)
    window += window % 2 - 1
    similarity: Any = structural_similarity(a, b, data_range=1, win_size=window)
    return float(similarity)


def unit_scaled(maps: np.ndarray) -> dict[str, np.ndarray]:
    """Returns maps `(..., H, W)`, each over its largest absolute value, in the forms compared.

    Structural similarity is made for images, so both forms lie in [0, 1]: signed maps with zero at
    0.5 (around zero it would take a negated map for a similar one), and absolute ones.
    """
    largest = np.abs(maps).max(axis=(-2, -1), keepdims=True)
    scaled = maps / np.where(largest > 0, largest, 1)
    return {"signed": (1 + scaled) / 2, "absolute": np.abs(scaled)}


def compare_with_first(
    similarity: Callable[[np.ndarray, np.ndarray], float], maps: np.ndarray
) -> dict[str, np.ndarray]:
    """Compares maps of B images with the first ones.

    Args:
        similarity: `rank_correlation` or `ssim`.
        maps: `(S + 1, B, H, W)`.

    Returns:
        A dict with an array `(S, B)` in [-1, 1] for the `"signed"` and the `"absolute"` maps.
    """
    return {
        form: np.array([[similarity(a, b) for a, b in zip(values[0], step)] for step in values[1:]])
        for form, values in unit_scaled(maps).items()
    }
