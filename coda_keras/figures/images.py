"""The images that figures show: one check and one conversion for all of them."""

import numpy as np
from numpy.typing import ArrayLike

# Interpolation and rounding leave values such as 1 + 1e-7.
_SLACK = 1e-3


def image_rgb(image: ArrayLike) -> np.ndarray:
    """Converts one or several images to what is drawn.

    Args:
        image: `(..., H, W, 3)`, or `(..., H, W, 6)` encoded: uint8, shown as they are, or floats
            in [0, 1].

    Returns:
        uint8 `(..., H, W, 3)`, RGB.

    Raises:
        ValueError: for another shape or dtype, or floats outside [0, 1].

    Example:

    >>> image_rgb(np.array([[[0.0, 0.5, 1.0]]])).tolist()
    [[[0, 128, 255]]]
    """
    image = np.asarray(image)
    if image.ndim < 3 or image.shape[-1] not in (3, 6):
        raise ValueError(
            "Expected an image (height, width, 3) or (height, width, 6). "
            f"Received shape {image.shape}."
        )
    image = image[..., :3]
    if image.dtype == np.uint8:
        return image
    if image.dtype.kind in "biu":
        raise ValueError(
            "Expected an image of uint8, or of floats in [0, 1]. "
            f"Received dtype {image.dtype}; convert 8-bit images by `.astype('uint8')`."
        )
    image = image.astype("float64")
    if not np.all((image >= -_SLACK) & (image <= 1 + _SLACK)):
        raise ValueError(
            f"Expected image values in [0, 1]. Received {image.min()} to {image.max()}; "
            "divide 8-bit images by 255, or give them as uint8."
        )
    return np.rint(255 * np.clip(image, 0, 1)).astype("uint8")
