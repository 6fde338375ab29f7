"""The classes to explain: every accepted form of class ids brought to one, and checked."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from coda_keras.utils.checks import known_value, refuse_one_hot, require

Tensor = Any
ClassIds = Tensor | Sequence[int] | Sequence[Sequence[int]] | int | str | None


def standardize(class_ids: ClassIds, logits: Tensor) -> tuple[Tensor, Tensor | None]:
    """Brings every accepted form of class ids to int32 of shape `(B,)` or `(B, n)`.

    Args:
        class_ids: integers `(B,)` or `(B, n)`, one integer for all images, `"all"`, or None for
            the predicted class.
        logits: `(B, classes)`.

    Returns:
        The class ids, and booleans of their shape that tell which of them are in range. Instead
        of the booleans None if all are known to be; unknown they are in compiled code, and under
        `unchecked`.

    Raises:
        ValueError: if the class ids do not fit the logits, are one-hot rows or known to be out of
            range.
    """
    batch, classes = ops.shape(logits)[0], logits.shape[-1]
    if class_ids is None:
        return ops.cast(ops.argmax(logits, axis=-1), "int32"), None
    if isinstance(class_ids, str):
        if class_ids != "all":
            raise ValueError(
                f"Unknown `class_ids`: {class_ids!r}. Expected integers, 'all' or None."
            )
        return ops.broadcast_to(ops.arange(classes, dtype="int32")[None], (batch, classes)), None
    class_ids, valid = _checked(class_ids, classes)
    if len(class_ids.shape) == 0:
        class_ids = ops.broadcast_to(class_ids, (batch,))
        valid = None if valid is None else ops.broadcast_to(valid, (batch,))
    if len(class_ids.shape) not in (1, 2) or (
        None not in (logits.shape[0], class_ids.shape[0]) and class_ids.shape[0] != logits.shape[0]
    ):
        raise ValueError(
            "`class_ids` must have shape (batch,) or (batch, n), the batch that of the images. "
            f"Received shape {tuple(class_ids.shape)} for {logits.shape[0]} images."
        )
    return class_ids, valid


def _checked(class_ids, classes):
    """As `standardize`, whatever the shape."""
    if not ops.is_tensor(class_ids):
        class_ids = np.asarray(class_ids)
    dtype = keras.backend.standardize_dtype(class_ids.dtype)
    if "int" not in dtype:
        raise ValueError(f"`class_ids` must be integers. Received dtype {dtype}.")
    expected = f"`class_ids` must lie in 0 to {classes - 1}."
    known = known_value(class_ids) if ops.is_tensor(class_ids) else class_ids
    if known is not None:
        if known.size and not (known.min() >= 0 and known.max() < classes):
            raise ValueError(f"{expected} Received values from {known.min()} to {known.max()}.")
        refuse_one_hot(known, classes)
        return ops.convert_to_tensor(known, "int32"), None
    valid = ops.logical_and(class_ids >= 0, class_ids < classes)
    require(ops.all(valid), f"{expected} Received:", class_ids)
    return ops.cast(class_ids, "int32"), valid
