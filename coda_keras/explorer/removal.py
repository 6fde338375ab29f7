"""What a model says of an image from which pixels were taken away."""

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeGuard

import numpy as np

from coda_keras.explorer.view import View

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
        images = np.asarray(images, "float32")
        if images.shape[-1] == 3:
            images = np.concatenate([images, 1 - images], axis=-1)
        logits = model(images * (~removed)[..., None].astype("float32"))
        # Torch converts no tensor to an array that may get a gradient.
        return np.asarray(logits.detach().cpu() if hasattr(logits, "detach") else logits)

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
            return both_logits(self.predicts[view], image, removed)
        except Exception as error:
            # A page cannot show a traceback, and must not wait for ever.
            return {"error": " ".join(str(error).split()) or type(error).__name__}

    def _checked(self, request):
        if not isinstance(request, Mapping):
            raise ValueError("Expected a request with view, image and removed.")
        view, index = request.get("view"), request.get("image")
        if not _is_index(view, self.images) or not _is_index(index, self.images[view]):
            raise ValueError(f"There is no view {view!r} with image {index!r}.")
        return view, index, removed_mask(request.get("removed"), self.images[view].shape[1:3])


def _is_index(value: Any, sequence: Any) -> TypeGuard[int]:
    # JSON's true is an int as well.
    return type(value) is int and 0 <= value < len(sequence)


def both_logits(predict: Predict, image: np.ndarray, removed: np.ndarray) -> dict[str, Any]:
    """Asks for the logits of an image, all of it and without some pixels.

    Args:
        predict: a `Predict`.
        image: `(H, W, 3 or 6)`, floats in [0, 1].
        removed: booleans `(H, W)`.

    Returns:
        `{"before": logits, "after": logits}`, lists of numbers.

    Raises:
        ValueError: if a logit is not finite.
    """
    both = np.stack([np.zeros_like(removed), removed])
    logits = np.asarray(predict(np.stack([image, image]), both), "float64")
    if not np.isfinite(logits).all():
        raise ValueError("The model's answer is not finite.")
    return {"before": logits[0].tolist(), "after": logits[1].tolist()}


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
    return (image / 255 if image.dtype == np.uint8 else image).astype("float32")
