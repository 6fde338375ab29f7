"""What a model says of an image from which pixels were taken away."""

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from keras import ops

from coda_keras.explorer.view import View
from coda_keras.layers.encoding import encode

# From images `(B, H, W, 3 or 6)`, floats in [0, 1], and booleans `(B, H, W)`, true where a pixel
# is gone, to logits `(B, classes)`.
Predict = Callable[[np.ndarray, np.ndarray], Any]


def without_pixels(model: Callable[[Any], Any]) -> Predict:
    """Makes a `Predict` of a model that takes images in the six-channel encoding.

    A pixel that is gone is zero in all six channels, which no colour is: no evidence.

    Args:
        model: a `CoDANet`, or any callable from `(B, H, W, 6)` to logits `(B, classes)`.
    """

    def predict(images, removed):
        encoded = encode(ops.convert_to_tensor(images, "float32"))
        kept = ops.convert_to_tensor(~removed, "float32")
        return ops.convert_to_numpy(model(encoded * kept[..., None]))

    return predict


class Removal:
    """Answers the viewer's requests for a new prediction.

    Args:
        views: the views that the viewer shows.
        predicts: a `Predict` for each of them, or one for all.
    """

    def __init__(self, views: Sequence[View], predicts: Predict | Sequence[Predict]) -> None:
        self.images = [view.images for view in views]
        self.predicts = [predicts] * len(views) if callable(predicts) else list(predicts)
        if len(self.predicts) != len(self.images):
            raise ValueError(
                f"Expected a function for each of {len(self.images)} views. "
                f"Received {len(self.predicts)}."
            )

    def __call__(self, request: Any) -> dict[str, Any]:
        """Returns `{"before": logits, "after": logits}`, or `{"error": sentence}`.

        Args:
            request: `{"view": int, "image": int, "removed": str}`, the last a byte for each
                pixel, 1 where it is gone, as base64. Anything else is answered by a sentence.
        """
        try:
            view, index, removed = self._checked(request)
            image = as_floats(self.images[view][index])
            both = np.stack([np.zeros_like(removed), removed])
            logits = np.asarray(self.predicts[view](np.stack([image, image]), both), "float64")
            if not np.isfinite(logits).all():
                raise ValueError("The model's answer is not finite.")
        except Exception as error:
            # A page cannot show a traceback, and must not wait for ever.
            return {"error": " ".join(str(error).split()) or type(error).__name__}
        return {"before": logits[0].tolist(), "after": logits[1].tolist()}

    def _checked(self, request):
        if not isinstance(request, Mapping):
            raise ValueError("Expected a request with view, image and removed.")
        view, index = (request.get(name) for name in ("view", "image"))
        for value, count in ((view, len(self.images)), (index, None)):
            count = len(self.images[view]) if count is None else count
            if type(value) is not int or not 0 <= value < count:
                raise ValueError(f"There is no view {view!r} with image {index!r}.")
        return view, index, removed_mask(request.get("removed"), self.images[view].shape[1:3])


def removed_mask(text: Any, size: tuple[int, int]) -> np.ndarray:
    """Reads booleans `(H, W)` from base64.

    Raises:
        ValueError: if it is something else.
    """
    try:
        values = np.frombuffer(base64.b64decode(text, validate=True), "uint8")
    except (TypeError, ValueError, binascii.Error):
        values = np.empty(0)
    if values.size != size[0] * size[1]:
        raise ValueError(f"Expected a byte for each of {size[0]}x{size[1]} pixels.")
    return values.reshape(size) != 0


def as_floats(image: np.ndarray) -> np.ndarray:
    """Returns an image as float32 in [0, 1]."""
    return np.float32(image / 255) if image.dtype == np.uint8 else np.float32(image)
