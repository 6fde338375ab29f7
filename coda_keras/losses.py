"""One-vs-all classification: a binary cross-entropy for every class."""

from typing import Any

import keras
from keras import ops

from coda_keras.layers.dynamic_linear import PACKAGE, Tensor
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
        valid = _in_range(integers, classes)
        if valid is not None:
            # Which torch refuses by an error of its own.
            integers = ops.clip(integers, 0, classes - 1)
        one_hot = ops.one_hot(integers, classes, dtype=logits.dtype)
        return one_hot if valid is None else ops.where(valid[:, None], one_hot, float("nan"))
    raise ValueError(
        f"Expected integer labels (batch,) or one-hot labels (batch, {classes}). "
        f"Received shape {tuple(labels.shape)}."
    )


def _in_range(labels, classes):
    """Booleans; None where all labels are known to be in range."""
    expected = f"Labels must lie in 0 to {classes - 1}, as there are {classes} logits."
    known = known_value(labels)
    if known is not None:
        if known.size and not (known.min() >= 0 and known.max() < classes):
            raise ValueError(f"{expected} Received values from {known.min()} to {known.max()}.")
        return None
    valid = ops.logical_and(labels >= 0, labels < classes)
    require(ops.all(valid), f"{expected} Received:", labels)
    return valid


@keras.saving.register_keras_serializable(PACKAGE)
class OneVsAllCrossentropy(keras.losses.Loss):
    """Binary cross-entropy of `sigmoid(logits)`, averaged over the classes (Section 3.2).

    Labels are integers `(B,)` or one-hot (or soft) `(B, classes)`; predictions are logits.

    >>> float(OneVsAllCrossentropy()(np.array([1]), np.zeros((1, 4), "float32")))
    0.6931471824645996
    """

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str = "one_vs_all_crossentropy",
        **kwargs: Any,
    ) -> None:
        super().__init__(reduction=reduction, name=name, **kwargs)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        targets = one_hot_labels(y_true, y_pred)
        return ops.mean(ops.softplus(y_pred) - targets * y_pred, axis=-1)


@keras.saving.register_keras_serializable(PACKAGE)
class OneVsAllAccuracy(keras.metrics.MeanMetricWrapper):
    """Fraction of images whose largest logit is the labelled class; labels as for the loss."""

    def __init__(self, name: str = "accuracy", dtype: Any | None = None) -> None:
        super().__init__(fn=_hits, name=name, dtype=dtype)

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name, "dtype": self.dtype}


def _hits(y_true, y_pred):
    targets = one_hot_labels(y_true, y_pred)
    hits = ops.equal(ops.argmax(targets, axis=-1), ops.argmax(y_pred, axis=-1))
    # NaN where a label is out of range, whatever `argmax` makes of it.
    return ops.cast(hits, targets.dtype) + 0.0 * ops.sum(targets, axis=-1)
