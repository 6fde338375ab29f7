"""Where a logit comes from: evidence by position, and which pixels a position sees.

It lets occlusion hide several windows of an image at once, exactly: if a position of a model's
evidence sees a patch of the image only, and the logits are sums over positions. Models tell both
by `receptive_field` and `evidence`, as a `CoDANet` does.
"""

from typing import Any

import numpy as np

from coda_keras.backend.types import Tensor
from coda_keras.layers.dynamic_linear import ReceptiveField


def receptive_field(model: Any) -> ReceptiveField | None:
    """The receptive field of every position of the evidence, or None for the whole image."""
    return getattr(model, "receptive_field", None)


def evidence(model: Any, images: Tensor) -> Tensor:
    """What sums to the logits, up to a constant: `(B, h, w, classes)`, h = w = 1 if unknown."""
    if receptive_field(model) is None:
        return model(images, training=False)[:, None, None]
    return model.evidence(images)


def sees(
    field: ReceptiveField | None, positions: int, first: np.ndarray, last: np.ndarray
) -> np.ndarray:
    """Which positions along an axis see which windows.

    Args:
        field: a `ReceptiveField` or None.
        positions: int, number of positions.
        first, last: `(n,)`, first and last pixel of every window, ascending.

    Returns:
        Bool array `(n, positions)`.
    """
    if field is None:
        return np.ones((len(first), positions), bool)
    start = np.arange(positions) * field.stride + field.offset
    return (first[:, None] < start + field.size) & (last[:, None] >= start)


def period(seen: np.ndarray) -> int:
    """Smallest p such that no position sees two windows of `p` or more apart in the order."""
    return next(p for p in range(1, len(seen) + 1) if not (seen[:-p] & seen[p:]).any())
