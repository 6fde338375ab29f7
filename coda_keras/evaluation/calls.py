"""How the metrics call models and attribution methods: the only places where they do."""

import numpy as np
from keras import ops


def predict_logits(model, images):
    """Returns the logits `(B, classes)` of one batch as a NumPy array.

    A Keras model runs compiled; any other callable is just called.
    """
    predict = getattr(model, "predict_on_batch", None)
    return ops.convert_to_numpy(model(images) if predict is None else predict(images))


def signed_maps(attribute, model, images, class_ids):
    """Calls an attribution method and checks that it keeps the contract.

    Args:
        attribute: `attribute(model, images, class_ids) -> maps`.
        model: passed on.
        images: `(B, H, W, C)` floats in [0, 1].
        class_ids: `(B,)` or `(B, n)` integers.

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
    maps = np.asarray(attribute(model, images, class_ids), "float64")
    expected = (*class_ids.shape, *images.shape[1:3])
    if maps.shape != expected or not np.isfinite(maps).all():
        raise ValueError(
            f"Expected finite attribution maps of shape {expected}. Received shape {maps.shape}, "
            f"{np.count_nonzero(~np.isfinite(maps))} values not finite."
        )
    return maps
