"""The confusion matrix of a classifier, and the accuracy that follows from it."""

from typing import Any

import keras
from keras import ops

from coda_keras.backend.types import Tensor
from coda_keras.utils.labels import one_hot_labels
from coda_keras.utils.registration import PACKAGE


@keras.saving.register_keras_serializable(PACKAGE)
class ConfusionAccuracy(keras.metrics.Metric):
    """Accuracy, as `OneVsAllAccuracy`, that also counts which class was taken for which.

    Args:
        classes: int.
        name, dtype: of `keras.metrics.Metric`.

    Attributes:
        counts: variable `(classes, classes)`; row k has the images of class k, or their weights, by
            the class that was predicted.

    Example:

    >>> metric = ConfusionAccuracy(2)
    >>> metric.update_state(np.array([0, 1, 1]), np.array([[1.0, 0], [0, 1], [3, 2]]))
    >>> ops.convert_to_numpy(metric.counts).tolist(), round(float(metric.result()), 3)
    ([[1.0, 0.0], [1.0, 1.0]], 0.667)
    """

    def __init__(self, classes: int, name: str = "accuracy", dtype: Any | None = None) -> None:
        super().__init__(name=name, dtype=dtype)
        self.classes = classes
        self.counts = self.add_variable((classes, classes), initializer="zeros", name="counts")

    def update_state(
        self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> None:
        """Counts a batch.

        Args:
            y_true: labels, integers `(B,)` / `(B, 1)` or one-hot `(B, classes)`.
            y_pred: logits `(B, classes)`.
            sample_weight: `(B,)`, or None for 1.
        """
        y_pred = ops.convert_to_tensor(y_pred)
        targets = ops.cast(one_hot_labels(y_true, y_pred), self.dtype)
        # Of soft labels the largest; a row of NaN, whose label is out of range, stays one.
        rows = ops.one_hot(ops.argmax(targets, axis=-1), self.classes, dtype=self.dtype)
        rows = rows + 0.0 * targets
        if sample_weight is not None:
            rows = rows * ops.reshape(ops.cast(sample_weight, self.dtype), (-1, 1))
        columns = ops.one_hot(ops.argmax(y_pred, axis=-1), self.classes, dtype=self.dtype)
        self.counts.assign(self.counts + ops.matmul(ops.transpose(rows), columns))

    def result(self) -> Tensor:
        """Returns the accuracy so far, a scalar; 0 before the first image."""
        total = ops.sum(self.counts)
        return ops.divide_no_nan(ops.trace(self.counts), total)

    def get_config(self) -> dict[str, Any]:
        return {"classes": self.classes, "name": self.name, "dtype": self.dtype}
