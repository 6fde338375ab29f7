"""How the metrics call models and attribution methods: the only places where they do."""

from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

import numpy as np
from keras import ops


def predict_logits(model: Any, images: np.ndarray) -> np.ndarray:
    """Returns the logits `(B, classes)` of one batch as a NumPy array.

    A Keras model runs compiled; any other callable is just called.
    """
    predict = getattr(model, "predict_on_batch", None)
    return ops.convert_to_numpy(model(images) if predict is None else predict(images))


def predict_each(model: Any, images: Iterable[np.ndarray], batch_size: int) -> np.ndarray:
    """Returns the logits `(N, classes)` of images that are made one after the other.

    Args:
        model: callable from images to logits.
        images: at least one image `(H, W, C)`; an iterator is asked for `batch_size` at a time.
        batch_size: int, the most images in one call of `model`, and in memory.
    """
    images = iter(images)
    batches = iter(lambda: list(islice(images, batch_size)), [])
    return np.concatenate([predict_logits(model, np.stack(batch)) for batch in batches])


def signed_maps(
    attribute: Callable[..., np.ndarray],
    model: Any,
    images: np.ndarray,
    class_ids: np.ndarray,
    batch_size: int | None = None,
) -> np.ndarray:
    """Calls an attribution method and checks that it keeps the contract.

    Args:
        attribute: `attribute(model, images, class_ids) -> maps`.
        model: passed on.
        images: `(B, H, W, C)` floats in [0, 1].
        class_ids: `(B,)` or `(B, n)` integers.
        batch_size: int, the most images in one call of `attribute`; None for one call.

    Returns:
        `(B, H, W)` or `(B, n, H, W)`, float64.

    Raises:
        ValueError: if the images are integers, or the maps have another shape or are not finite.
    """
    if not np.issubdtype(images.dtype, np.floating):
        raise ValueError(
            f"Expected images as floats in [0, 1]. Received dtype {images.dtype}; divide 8-bit "
            "images by 255."
        )
    size = batch_size or len(images)
    maps = [
        np.asarray(attribute(model, images[part], class_ids[part]), "float64")
        for start in range(0, len(images), size)
        for part in [slice(start, start + size)]
    ]
    maps = maps[0] if len(maps) == 1 else np.concatenate(maps)
    expected = (*class_ids.shape, *images.shape[1:3])
    if maps.shape != expected or not np.isfinite(maps).all():
        raise ValueError(
            f"Expected finite attribution maps of shape {expected}. Received shape {maps.shape}, "
            f"{np.count_nonzero(~np.isfinite(maps))} values not finite."
        )
    return maps
