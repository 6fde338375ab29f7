"""Checks of values, made wherever these are known."""

from typing import Any

import keras
import numpy as np
from keras import ops

from coda_keras import backend
from coda_keras.backend.value_checks import checking

Tensor = Any

# Interpolation and rounding leave values such as 1 + 1e-7.
SLACK = 1e-3


def known_value(tensor: Tensor) -> np.ndarray | None:
    """A tensor as a NumPy array; None where it has no values yet, or under `unchecked`."""
    return backend.known_value(tensor) if checking() else None


def require(condition: Tensor, message: str, given: Tensor) -> None:
    """Makes compiled code fail as `backend.require` does, but not under `unchecked`."""
    if checking():
        backend.require(condition, message, given)


def check_range(images: Tensor) -> None:
    """Raises ValueError if values of images are known and not all in [0, 1].

    Args:
        images: tensor of floats of any shape.
    """
    if not checking() or isinstance(images, keras.KerasTensor) or not backend.is_known(images):
        return
    # Of NaN every comparison is False.
    fits = backend.known_value(ops.all(ops.abs(images - 0.5) <= 0.5 + SLACK))
    if fits is None or fits:
        return
    values = ops.convert_to_numpy(ops.cast(images, "float32"))
    if not np.all(np.isfinite(values)):
        raise ValueError("Expected image values in [0, 1]. Received NaN or infinite values.")
    advice = "divide 8-bit images by 255" if values.min() >= 0 else "undo their normalisation"
    raise ValueError(
        f"Expected image values in [0, 1]. Received {values.min():g} to {values.max():g}; {advice}."
    )


def refuse_one_hot(class_ids: np.ndarray, classes: int) -> None:
    """Raises ValueError if class ids look like one-hot rows `(B, classes)`.

    Of two classes `[0, 1]` are ids as well.
    """
    if (
        class_ids.ndim == 2
        and class_ids.shape[1] == classes > 2
        and len(class_ids)
        and np.all((class_ids == 0) | (class_ids == 1))
        and np.all(class_ids.sum(axis=1) == 1)
    ):
        raise ValueError(
            f"`class_ids` of shape {class_ids.shape} are one-hot rows. Expected integers; give "
            "`class_ids.argmax(axis=1)`."
        )
