"""The colours of the weights: rows of W_{0->L}(x) as pictures, as shown for B-cos networks."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from coda_keras.figures.colours import PERCENTILE, checked_scale, finite, shared_scale


def weights_rgba(
    weights: ArrayLike, scale: ArrayLike | None = None, percentile: float = PERCENTILE
) -> np.ndarray:
    """Colours rows of W_{0->L}(x): the colour that they ask for at every pixel, and how strongly.

    With w+ the positive part of a weight, each of red, green and blue is the share of its own
    weight against that of its complement, `w+_c / (w+_c + w+_{1-c})`. Opacity is the Euclidean
    norm of the six weights over `scale`, at most 1 (Böhle, Fritz, Schiele: B-cos Networks,
    CVPR 2022, appendix). So weights in proportion to an encoded image have the colours of that
    image, and weights times any positive number the same colours.

    Where neither weight of a pair is positive, no value of that colour speaks for the class, and
    it is 0.5: weights that are all negative are grey. Opacity counts negative weights too.

    Args:
        weights: `(..., H, W, 6)`, weights of r, g, b, 1-r, 1-g, 1-b in logits.
        scale: positive number, or an array of them that broadcasts to `(..., H, W)`: the norm
            that is opaque; None for the `percentile` of all norms given.
        percentile: number in 0 to 100, used where `scale` is None.

    Returns:
        float64 `(..., H, W, 4)` in [0, 1], red, green, blue and opacity, not premultiplied.

    Raises:
        ValueError: for another shape, NaN or infinite weights, or a scale that is not positive.

    Example:

    >>> weights_rgba(np.array([[[3.0, 0, 1, 0, 4, 1]]])).tolist()
    [[[1.0, 0.0, 0.5, 1.0]]]
    """
    weights = _checked(weights)
    norms = np.linalg.norm(weights, axis=-1)
    scale = shared_scale(norms, percentile) if scale is None else checked_scale(scale)
    positive = np.maximum(weights, 0)
    own, complement = positive[..., :3], positive[..., 3:]
    both = own + complement
    colour = np.divide(own, both, out=np.full_like(own, 0.5), where=both > 0)
    opacity = np.minimum(norms / scale, 1)
    return np.concatenate([colour, opacity[..., None]], axis=-1)


def weights_rgb(
    weights: ArrayLike, scale: ArrayLike | None = None, percentile: float = PERCENTILE
) -> np.ndarray:
    """Draws `weights_rgba` over white: uint8 `(..., H, W, 3)`."""
    rgba = weights_rgba(weights, scale, percentile)
    return np.rint(255 * (1 - rgba[..., 3:] * (1 - rgba[..., :3]))).astype("uint8")


def weights_scale(weights: Sequence[ArrayLike], percentile: float = PERCENTILE) -> float:
    """Returns one opaque norm for several pictures: the percentile of all their norms."""
    norms = [np.linalg.norm(_checked(row), axis=-1) for row in weights]
    return shared_scale(norms, percentile)


def _checked(weights):
    weights = finite(weights, "Weights")
    if weights.ndim < 3 or weights.shape[-1] != 6:
        raise ValueError(
            "Expected weights (..., height, width, 6), of r, g, b, 1-r, 1-g, 1-b. "
            f"Received shape {weights.shape}."
        )
    return weights
