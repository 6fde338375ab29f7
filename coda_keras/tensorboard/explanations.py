"""Explanations as tensors in TensorBoard's event files, for the tab "Explanations".

Every step is a sequence of byte strings: a manifest, then packed arrays, as
`explorer.storage.encoded_view` makes them. TensorBoard reads the strings that are looked at.
"""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorboard.compat.proto import summary_pb2

from coda_keras.explanation.channels import strongest_channels
from coda_keras.explanation.explanation import Explanation
from coda_keras.explorer.storage import encoded_view, fitted, room
from coda_keras.explorer.view import View, from_explanation

PLUGIN = "explanations"
TAG = "contributions"
# Of a step, before compression: 12 CIFAR-10 images with all their classes and layers.
MAX_BYTES = 2 * 2**20
WEIGHTS = "int8"
CHANNELS = 3


def write_view(tag: str, view: View, step: int, max_bytes: int = MAX_BYTES) -> None:
    """Writes a view with the default writer.

    Maps are float32, weights have 8 bits. Of a view that is larger than `max_bytes` the last
    classes of every image are left out, then layers, then images.

    Args:
        tag: name of the series.
        view: `View`; its classes in order of importance.
        step: int.
        max_bytes: int, bound on the arrays before compression.
    """
    manifest, blobs = encoded_view(fitted(view, max_bytes, WEIGHTS), WEIGHTS)
    metadata = summary_pb2.SummaryMetadata(
        plugin_data=summary_pb2.SummaryMetadata.PluginData(plugin_name=PLUGIN),
        data_class=summary_pb2.DATA_CLASS_BLOB_SEQUENCE,
    )
    text = json.dumps({**manifest, "step": step}, allow_nan=False)
    tf.summary.write(tag, tf.constant([text.encode(), *blobs]), step=step, metadata=metadata)


class ExplanationTensors:
    """Writes how a net explains a fixed set of images.

    Args:
        net: a `CoDANet`.
        images: `(N, H, W, 3)` in [0, 1].
        labels: `(N,)` integers.
        class_names: names of the classes.
        max_bytes: int, bound on a step, as for `write_view`.
    """

    def __init__(
        self,
        net: Any,
        images: np.ndarray,
        labels: np.ndarray,
        class_names: Sequence[str],
        max_bytes: int = MAX_BYTES,
    ) -> None:
        images = np.float32(images)
        pixels = int(np.prod(images.shape[1:3]))
        channels = CHANNELS * len(net.body)
        self.room = room(max_bytes, len(images), len(class_names), pixels, channels, WEIGHTS)
        self.net, self.class_names, self.max_bytes = net, class_names, max_bytes
        self.images, self.labels = (each[: self.room.images] for each in (images, labels))
        self._explain = tf.function(lambda i, c: vars(net.explain(i, c)), autograph=False)

    def write(self, logits: np.ndarray, step: int) -> None:
        """Explains and writes a step with the default writer.

        Args:
            logits: `(N, classes)`, those of the images.
            step: int.
        """
        logits = logits[: self.room.images]
        ids = ranked_classes(logits, self.labels)[:, : self.room.classes]
        found = self._explain(self.images, tf.constant(ids, tf.int32))
        layers = []
        if self.room.layers:
            layers = [strongest_channels(self.net, self.images, logits.argmax(axis=1), CHANNELS)]
        view = from_explanation(
            Explanation(**found),
            self.images,
            self.class_names,
            labels=self.labels,
            layers=layers,
            title=TAG,
        )
        write_view(TAG, view, step, self.max_bytes)


def ranked_classes(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Returns the classes of every image `(N, classes)`: the true one, then by falling logit.

    Example:

    >>> ranked_classes(np.array([[0.5, 2.0, 1.0]]), np.array([0])).tolist()
    [[0, 1, 2]]
    """
    raised = np.array(logits, "float64")
    np.put_along_axis(raised, np.asarray(labels)[:, None], np.inf, axis=1)
    return np.argsort(-raised, axis=1, kind="stable")
