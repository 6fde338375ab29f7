"""Checks of values, made wherever these are known."""

import keras
import numpy as np
from keras import ops

from coda_keras import backend
from coda_keras.backend.types import Tensor
from coda_keras.backend.value_checks import checking

# Interpolation and rounding leave values such as 1 + 1e-7.
SLACK = 1e-3
EXPECTED = "Expected image values in [0, 1]."


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
        images: tensor or NumPy array of floats, of any shape.
    """
    if not checking() or isinstance(images, keras.KerasTensor) or not backend.is_known(images):
        return
    # Of NaN every comparison is False.
    if isinstance(images, np.ndarray):
        fits = not images.size or (images.min() >= -SLACK and images.max() <= 1 + SLACK)
    else:
        fits = backend.known_value(ops.all(ops.abs(images - 0.5) <= 0.5 + SLACK))
    if fits is None or fits:
        return
    values = ops.convert_to_numpy(ops.cast(images, "float32"))
    if not np.all(np.isfinite(values)):
        raise ValueError(f"{EXPECTED} Received NaN or infinite values.")
    advice = "divide 8-bit images by 255" if values.min() >= 0 else "undo their normalisation"
    raise ValueError(f"{EXPECTED} Received {values.min():g} to {values.max():g}; {advice}.")
