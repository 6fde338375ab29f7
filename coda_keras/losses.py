"""One-vs-all classification: a binary cross-entropy for every class."""

from typing import Any

import keras
from keras import ops

from coda_keras.dynamic_linear import PACKAGE, Tensor


def one_hot_labels(labels: Tensor, logits: Tensor) -> Tensor:
    """Returns `labels`, integers `(B,)` / `(B, 1)` or one-hot `(B, classes)`, as one-hot.

    Raises:
        ValueError: for any other shape.
    """
    labels = ops.convert_to_tensor(labels)
    classes = logits.shape[-1]
    rank = len(labels.shape)
    if rank == 2 and labels.shape[-1] == classes:
        return ops.cast(labels, logits.dtype)
    if rank == 1 or (rank == 2 and labels.shape[-1] == 1):
        integers = ops.reshape(ops.cast(labels, "int32"), (-1,))
        return ops.one_hot(integers, classes, dtype=logits.dtype)
    raise ValueError(
        f"Expected integer labels (batch,) or one-hot labels (batch, {classes}). "
        f"Received shape {tuple(labels.shape)}."
    )


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
    return ops.equal(ops.argmax(targets, axis=-1), ops.argmax(y_pred, axis=-1))
