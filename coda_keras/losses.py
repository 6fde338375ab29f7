"""One-vs-all classification: a binary cross-entropy for every class."""

from typing import Any

import keras
from keras import ops

from coda_keras.backend.types import Tensor
from coda_keras.utils.labels import one_hot_labels
from coda_keras.utils.registration import PACKAGE


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


_BY_NAME = {
    "OneVsAllAccuracy": OneVsAllAccuracy,
    "OneVsAllCrossentropy": OneVsAllCrossentropy,
    "one_vs_all_accuracy": OneVsAllAccuracy,
    "one_vs_all_crossentropy": OneVsAllCrossentropy,
}


def named(identifier: Any) -> Any:
    """The loss or metric of this module that has a name, named so; whatever else as it is.

    >>> named("one_vs_all_crossentropy").name
    'one_vs_all_crossentropy'
    """
    kind = _BY_NAME.get(identifier) if isinstance(identifier, str) else None
    return identifier if kind is None else kind(name=identifier)


def _hits(y_true, y_pred):
    targets = one_hot_labels(y_true, y_pred)
    hits = ops.equal(ops.argmax(targets, axis=-1), ops.argmax(y_pred, axis=-1))
    # NaN where a label is out of range, whatever `argmax` makes of it.
    return ops.cast(hits, targets.dtype) + 0.0 * ops.sum(targets, axis=-1)
