"""Explanations of any number of images, a batch at a time."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from keras import ops

from coda_keras import backend
from coda_keras.explanation.computing import FIELDS, computed_by_compiled
from coda_keras.explanation.explanation import (
    Explanation,
    explain,
    known_class_names,
    require_inherent,
)
from coda_keras.layers.encoding import encode
from coda_keras.utils.labels import checked_labels
from coda_keras.utils.progress import tracked


def explain_dataset(
    net: Any,
    dataset: Iterable[Any],
    class_ids: int | str | None = None,
    fields: Iterable[str] = FIELDS,
    strategy: Any | None = None,
    progress: bool = True,
) -> Iterator[Explanation[np.ndarray]]:
    """Explains the batches of a data set one after the other; one batch is in memory at a time.

    The step is compiled where the backend can, at the first call for a net, class ids and fields of
    this form: `tf.function` on TensorFlow, `jax.jit` on JAX.

    Args:
        net: a `CoDANet`.
        dataset: iterable of image batches `(B, H, W, 3)` in [0, 1] or `(B, H, W, 6)` encoded,
            or of tuples `(images, labels, ...)`: a `tf.data.Dataset`, a list of arrays, a
            generator, ...
        class_ids: None for the predicted class, `"labels"` for the labels of the data set
            (integers `(B,)`, `(B, 1)`, or one-hot), `"all"`, or one integer for all images.
        fields: names of the fields of `Explanation` to compute; the others are None.
        strategy: a `tf.distribute.Strategy` over whose replicas every batch is split; None for
            the one that the net was made under. TensorFlow only.
        progress: bool, whether to show a progress bar, with the number of batches if known.

    Yields:
        An `Explanation` of NumPy arrays for every batch, in order.

    Raises:
        ValueError: if an argument, an image batch or a label is not as described.

    Example:

    >>> from coda_keras import CoDANet, DAUConv2D
    >>> net = CoDANet([DAUConv2D(5, 8, 3)], temperature=10)
    >>> batches = [np.zeros((4, 9, 9, 3), "float32"), np.ones((2, 9, 9, 3), "float32")]
    >>> for explanation in explain_dataset(net, batches, progress=False):
    ...     print(explanation.contribution_map.shape)
    (4, 9, 9)
    (2, 9, 9)
    """
    require_inherent(net)
    fields = (fields,) if isinstance(fields, str) else tuple(fields)
    unknown = sorted(set(fields) - set(FIELDS))
    if unknown or not fields:
        raise ValueError(f"Unknown or no `fields`: {unknown}. Expected some of {FIELDS}.")
    by_labels = isinstance(class_ids, str) and class_ids == "labels"
    named = class_ids is None or (isinstance(class_ids, str) and class_ids in ("labels", "all"))
    if not (named or isinstance(class_ids, (int, np.integer))):
        raise ValueError(
            "`class_ids` must be None, 'labels', 'all' or one integer. "
            f"Received: class_ids={class_ids!r}."
        )

    def on_one(images, *labels):
        ids = labels[0] if by_labels else class_ids
        encoded = encode(ops.convert_to_tensor(images))
        return computed_by_compiled(net, encoded, ids, fields, as_numpy=True)

    def on_replica(images, *labels):
        explanation = explain(net, images, labels[0] if by_labels else class_ids)
        return {name: getattr(explanation, name) for name in fields}

    absent: dict[str, Any] = dict.fromkeys(FIELDS)

    def explanations():
        run: Any = None
        for batch in tracked(dataset, "explaining", "batch", shown=progress):
            images, labels = _images_and_labels(batch, by_labels)
            if run is None:
                if not net.built:
                    net.build(images.shape)
                over = getattr(net, "distribute_strategy", None) if strategy is None else strategy
                one = over is None or getattr(over, "num_replicas_in_sync", 0) == 1
                run = on_one if one else backend.compiled(on_replica, net, over)
            given = [checked_labels(labels, net.classes, len(images))] if by_labels else []
            rows: Any = run(images, *given)
            yield Explanation(**{**absent, **rows}, class_names=known_class_names(net))

    return explanations()


def _images_and_labels(batch, needs_labels):
    images, labels = batch, None
    if isinstance(batch, (tuple, list)) and batch:
        images, labels = batch[0], batch[1] if len(batch) > 1 else None
    if isinstance(images, dict):
        raise ValueError(
            f"Expected batches of images or (images, labels). Received a dict of {list(images)}; "
            "map the data set to tuples first."
        )
    images = ops.convert_to_numpy(images)
    if images.ndim != 4 or images.dtype.kind != "f":
        raise ValueError(
            "Expected image batches (batch, height, width, 3 or 6) of floats in [0, 1]. "
            f"Received shape {images.shape} and dtype {images.dtype}."
        )
    if needs_labels and labels is None:
        raise ValueError("`class_ids='labels'` needs batches of the form (images, labels).")
    return images, labels
