"""Labels and class ids: every accepted form brought to one, and checked."""

from typing import Any

import keras
import numpy as np
from keras import ops

from coda_keras.backend.types import Tensor
from coda_keras.utils.checks import known_value, require


def one_hot_labels(labels: Tensor, logits: Tensor) -> Tensor:
    """Returns `labels`, integers `(B,)` / `(B, 1)` or one-hot `(B, classes)`, as one-hot.

    Where compiled code meets a label out of range its row is NaN; graphs of TensorFlow raise
    `InvalidArgumentError` unless compiled by XLA.

    Raises:
        ValueError: for any other shape, or labels that are known to be out of range.
    """
    labels = ops.convert_to_tensor(labels)
    classes = logits.shape[-1]
    rank = len(labels.shape)
    if rank == 2 and labels.shape[-1] == classes:
        return ops.cast(labels, logits.dtype)
    if rank == 1 or (rank == 2 and labels.shape[-1] == 1):
        integers = ops.reshape(ops.cast(labels, "int32"), (-1,))
        expected = f"Labels must lie in 0 to {classes - 1}, as there are {classes} logits."
        _, valid = _in_range(integers, classes, expected)
        if valid is not None:
            # Which torch refuses by an error of its own.
            integers = ops.clip(integers, 0, classes - 1)
        one_hot = ops.one_hot(integers, classes, dtype=logits.dtype)
        return one_hot if valid is None else ops.where(valid[:, None], one_hot, float("nan"))
    raise ValueError(
        f"Expected integer labels (batch,) or one-hot labels (batch, {classes}). "
        f"Received shape {tuple(labels.shape)}."
    )


def integer_labels(labels: Any) -> np.ndarray:
    """Returns labels `(N,)`, `(N, 1)` or one-hot `(N, classes)` as `(N,)`, and others as they are.

    >>> integer_labels([[0, 1, 0], [1, 0, 0]]).tolist()
    [1, 0]
    """
    labels = ops.convert_to_numpy(labels)
    if labels.ndim == 2:
        labels = labels[:, 0] if labels.shape[1] == 1 else labels.argmax(axis=1)
    return labels


def checked_labels(labels: Any, classes: int, count: int) -> np.ndarray:
    """Returns labels, in the forms of `integer_labels`, as int32 `(count,)`.

    Raises:
        ValueError: if they are others than `count` integers in 0 to `classes - 1`.
    """
    labels = integer_labels(labels)
    if (
        labels.shape != (count,)
        or labels.dtype.kind not in "iu"
        or not np.all((labels >= 0) & (labels < classes))
    ):
        raise ValueError(
            f"Expected {count} integer labels in 0 to {classes - 1}, or as many one-hot rows. "
            f"Received shape {labels.shape}, dtype {labels.dtype}: {labels}."
        )
    return labels.astype("int32")


def checked_class_ids(
    class_ids: Any, batch: int | None, classes: int
) -> tuple[Tensor, Tensor | None]:
    """Checks class ids, integers `()`, `(B,)` or `(B, n)`.

    Args:
        class_ids: a tensor, or what converts to a NumPy array.
        batch: int B, or None where it is not known.
        classes: int.

    Returns:
        The class ids, as a NumPy array where their values are known, and booleans of their shape
        that tell which of them are in range. Instead of the booleans None if all are known to be;
        unknown they are in compiled code, and of tensors under `unchecked`.

    Raises:
        ValueError: if the class ids have another shape or dtype, are one-hot rows, or known to be
            out of range.
    """
    if not ops.is_tensor(class_ids):
        class_ids = np.asarray(class_ids)
    shape, dtype = tuple(class_ids.shape), class_ids.dtype
    if isinstance(dtype, np.dtype):
        integers = dtype.kind in "iu"
    else:
        dtype = keras.backend.standardize_dtype(dtype)
        integers = "int" in dtype
    if not integers:
        raise ValueError(f"`class_ids` must be integers. Received dtype {dtype}.")
    if len(shape) > 2 or (shape and None not in (batch, shape[0]) and shape[0] != batch):
        raise ValueError(
            "`class_ids` must have shape (batch,) or (batch, n), the batch that of the images. "
            f"Received shape {shape} for {batch} images."
        )
    class_ids, valid = _in_range(class_ids, classes, f"`class_ids` must lie in 0 to {classes - 1}.")
    if valid is None:
        _refuse_one_hot(class_ids, classes)
    return class_ids, valid


def _in_range(ids, classes, expected):
    """The ids, as NumPy array if known; booleans, None where all are known to be in range."""
    known = known_value(ids) if ops.is_tensor(ids) else ids
    if known is not None:
        if known.size and not (known.min() >= 0 and known.max() < classes):
            raise ValueError(f"{expected} Received values from {known.min()} to {known.max()}.")
        return np.asarray(known), None
    valid = ops.logical_and(ids >= 0, ids < classes)
    require(ops.all(valid), f"{expected} Received:", ids)
    return ids, valid


def _refuse_one_hot(class_ids, classes):
    """Raises ValueError for one-hot rows; of two classes `[0, 1]` are ids as well."""
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
