"""The colour encoding of the paper: every channel next to its complement."""

import keras
from keras import ops

from coda_keras.backend.types import Tensor
from coda_keras.utils.checks import check_range


def encode(images: Tensor) -> Tensor:
    """Encodes RGB as `[r, g, b, 1-r, 1-g, 1-b]`; six-channel input passes unchanged.

    In this encoding dark pixels can contribute as much as bright ones, and "no evidence" (all six
    channels zero, as used by the pixel-removal metric) differs from every colour.

    Args:
        images: tensor `(..., 3)` with values in [0, 1], or an already encoded `(..., 6)`.

    Returns:
        Tensor `(..., 6)`.

    Raises:
        ValueError: if the last dimension is neither 3 nor 6, or the values are not floats, or, in
            eager calls, not in [0, 1]; see `unchecked`.
    """
    dtype = keras.backend.standardize_dtype(images.dtype)
    if "float" not in dtype:
        raise ValueError(
            f"Expected images as floats in [0, 1]. Received dtype {dtype}; divide 8-bit images "
            "by 255."
        )
    channels = images.shape[-1]
    if channels is None:
        return _encode_unknown(images)
    if channels not in (3, 6):
        raise ValueError(
            "Expected images with 3 channels (RGB in [0, 1]) or 6 channels (already encoded as "
            f"[r, g, b, 1-r, 1-g, 1-b]), channels last. Received shape {tuple(images.shape)}; "
            "for grey images repeat the channel three times."
        )
    check_range(images)
    return images if channels == 6 else ops.concatenate([images, 1.0 - images], axis=-1)


def _encode_unknown(images):
    # Keras relaxes the channels to None once `predict` has seen both kinds of images. Neither
    # reshape accepts another number of channels.
    shape = (*ops.shape(images)[:-1], 6)
    return ops.cond(
        ops.shape(images)[-1] == 6,
        lambda: ops.reshape(images, shape),
        lambda: ops.reshape(ops.concatenate([images, 1.0 - images], axis=-1), shape),
    )
