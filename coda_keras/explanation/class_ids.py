"""The classes to explain: every accepted form of class ids brought to one, and checked."""

from keras import ops
from numpy.typing import ArrayLike

from coda_keras import backend
from coda_keras.backend.types import Tensor
from coda_keras.utils.labels import checked_class_ids

ClassIds = Tensor | ArrayLike | None


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
        return backend.argmax(logits, axis=-1), None
    if isinstance(class_ids, str):
        if class_ids != "all":
            raise ValueError(
                f"Unknown `class_ids`: {class_ids!r}. Expected integers, 'all' or None."
            )
        return ops.broadcast_to(ops.arange(classes, dtype="int32")[None], (batch, classes)), None
    checked, valid = checked_class_ids(class_ids, logits.shape[0], classes)
    ids = ops.convert_to_tensor(checked, "int32")
    if len(ids.shape) == 0:
        ids = ops.broadcast_to(ids, (batch,))
        valid = None if valid is None else ops.broadcast_to(valid, (batch,))
    return ids, valid
