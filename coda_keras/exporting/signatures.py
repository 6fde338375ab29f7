"""The signatures of a servable: what a model server answers, and what it refuses.

A model server hands whatever arrives to the graph, so the graph itself checks every input:
anything that is not a batch of images of the model's size with values in [0, 1] ends in
INVALID_ARGUMENT and a sentence. Every input and output has the batch as first dimension, which
request batching needs.

=================  ==========================  ==================================================
signature          inputs                      outputs
=================  ==========================  ==================================================
`serving_default`  `images (B, H, W, 3)`       `logits (B, classes)`, `probabilities (B, classes)`,
                                               `class_ids (B,)`, `contribution_map (B, H, W)` of
                                               the predicted class
`serving_bytes`    `image_bytes (B,)`, each a  as `serving_default`
                   PNG or JPEG of H x W pixels
`classify`         `images`                    `logits`, `probabilities`
`classify_without` `images`,                   the same, of the images without some pixels: all six
                   `removed (B, H, W)`, bool   channels are zero where `removed` is true
`explain`          `images`,                   `logits`, `contribution_map (B, H, W)`,
                   `class_ids (B,)`            `contributions (B, H, W, 6)`,
                                               `weights (B, H, W, 6)`, `bias (B,)`,
                                               `residual (B,)`, `offset (B,)`
`labels`           `class_ids (B,)`            `labels (B,)`, the names of the classes; only in
                                               servables made with labels
=================  ==========================  ==================================================

Numbers are float32, class ids int32, images RGB in [0, 1], probabilities sigmoids of the logits
(one-vs-all). For every image `logits[class] = bias + sum(contributions) + offset + residual`, and
`contributions = weights * encode(images)`; `offset` is what constants inside of the net add.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import tensorflow as tf

from coda_keras import backend
from coda_keras.data.tf_decoding import decode_images, require
from coda_keras.layers.encoding import encode


class Net(Protocol):
    """What is asked of a net; a built float32 `DynamicLinearNet` with an `image_size` has it."""

    @property
    def image_size(self) -> tuple[int, int]:
        """`(height, width)` in pixels."""

    @property
    def classes(self) -> int:
        """The number of classes."""

    def explain(self, images: Any, class_ids: Any = None) -> Any:
        """Explains a class for each image."""

    def __call__(self, images: Any) -> Any:
        """The logits of images."""


Signature = tuple[Callable[..., dict[str, tf.Tensor]], list[tf.TensorSpec]]


def signatures(net: Net, labels: Sequence[str] | None = None) -> dict[str, Signature]:
    """Returns the signatures of a net: name to `(function, list of tf.TensorSpec)`.

    Args:
        net: a float32 `CoDANet` with an `image_size`.
        labels: names of the classes, or None.

    Raises:
        ValueError: if Keras runs on another backend than TensorFlow.
    """
    if backend.NAME != "tensorflow":
        raise ValueError(
            "Servables are made with Keras on TensorFlow. Set KERAS_BACKEND=tensorflow; "
            f"it runs on {backend.NAME}."
        )
    height, width = net.image_size
    images_spec = tf.TensorSpec((None, height, width, 3), tf.float32, name="images")
    encoded_spec = tf.TensorSpec((None, height, width, 6), tf.float32, name="encoded")
    bytes_spec = tf.TensorSpec((None,), tf.string, name="image_bytes")
    removed_spec = tf.TensorSpec((None, height, width), tf.bool, name="removed")
    ids_spec = tf.TensorSpec((None,), tf.int32, name="class_ids")

    # Traced once for all signatures that call them, which takes most of the time of an export.
    @tf.function(autograph=False, input_signature=[images_spec])
    def predict(images):
        explanation = net.explain(images)
        return {
            "logits": explanation.logits,
            "probabilities": tf.sigmoid(explanation.logits),
            "class_ids": explanation.class_ids,
            "contribution_map": explanation.contribution_map,
        }

    @tf.function(autograph=False, input_signature=[encoded_spec])
    def scores(encoded):
        logits = net(encoded)
        return {"logits": logits, "probabilities": tf.sigmoid(logits)}

    def serving_default(images):
        return predict(_checked_images(images, height, width))

    def serving_bytes(image_bytes):
        return predict(decode_images(image_bytes, height, width))

    def classify(images):
        return scores(encode(_checked_images(images, height, width)))

    def classify_without(images, removed):
        images = _checked_images(images, height, width)
        removed = tf.ensure_shape(removed, (None, height, width))
        with tf.control_dependencies([_same_length(images, removed, "mask")]):
            kept = tf.cast(~removed, tf.float32)
        return scores(encode(images) * kept[..., None])

    def explain(images, class_ids):
        images = _checked_images(images, height, width)
        class_ids = _checked_ids(class_ids, net.classes)
        with tf.control_dependencies([_same_length(images, class_ids, "class id")]):
            explanation = net.explain(images, tf.identity(class_ids))
        return {
            "logits": explanation.logits,
            "contribution_map": explanation.contribution_map,
            "contributions": explanation.contributions,
            "weights": explanation.weights,
            "bias": tf.fill(tf.shape(class_ids), explanation.bias),
            "residual": explanation.residual,
            "offset": explanation.offset,
        }

    def label(class_ids):
        return {"labels": tf.gather(tf.constant(labels), _checked_ids(class_ids, net.classes))}

    by_name = {
        "serving_default": (serving_default, [images_spec]),
        "serving_bytes": (serving_bytes, [bytes_spec]),
        "classify": (classify, [images_spec]),
        "classify_without": (classify_without, [images_spec, removed_spec]),
        "explain": (explain, [images_spec, ids_spec]),
    }
    if labels is not None:
        by_name["labels"] = (label, [ids_spec])
    return by_name


def save(
    net: Net, path: str | Path, labels: Sequence[str] | None = None, serve: bool = False
) -> None:
    """Writes a net with its signatures as a SavedModel; every weight is stored once.

    Args:
        net: a float32 `CoDANet` with an `image_size`, as `float32_copy` makes it.
        path: folder to write.
        labels: names of the classes in their order, or None.
        serve: bool, whether to add `serve`, which Keras' own exports have: images to logits.

    Raises:
        ValueError: if there is not one label, of its own, for every class.
    """
    if labels is not None:
        labels = [str(label) for label in labels]
        if len(labels) != net.classes or len(set(labels)) != len(labels):
            raise ValueError(
                f"Expected {net.classes} different labels, one for each class. "
                f"Received {len(labels)}, of them {len(set(labels))} different."
            )
    functions = {}
    for name, (function, specs) in signatures(net, labels).items():
        functions[name] = tf.function(function, autograph=False).get_concrete_function(*specs)
        if serve and name == "classify":
            logits = tf.function(partial(_logits, function), autograph=False)
            functions["serve"] = logits.get_concrete_function(*specs)
    # Not Keras' own archive, which traces every signature once more.
    archive = tf.Module()
    # Not the net, with which every weight would be stored a second time.
    found = {id(value): value for function in functions.values() for value in function.variables}
    archive.used = list(found.values())
    for name, function in functions.items():
        setattr(archive, name, function)
    tf.saved_model.save(archive, str(path), signatures=functions)


def _logits(classify, images):
    return classify(images)["logits"]


def _checked_images(images, height, width):
    # Kernels read past the end of smaller tensors, or abort the process, if this is left out.
    images = tf.ensure_shape(images, (None, height, width, 3))
    checks = [
        require(tf.shape(images)[0] > 0, "Expected at least one image. Received none."),
        require(
            tf.reduce_all((images >= 0) & (images <= 1)),
            "Expected images with all values in [0, 1], none of them NaN. "
            "Received values from {} to {}, {} of them NaN.",
            tf.reduce_min(images),
            tf.reduce_max(images),
            tf.math.count_nonzero(tf.math.is_nan(images)),
        ),
    ]
    with tf.control_dependencies(checks):
        return tf.identity(images)


def _checked_ids(class_ids, classes):
    class_ids = tf.ensure_shape(class_ids, (None,))
    check = require(
        tf.reduce_all((class_ids >= 0) & (class_ids < classes)),
        f"Expected class ids from 0 to {classes - 1}. Received {{}}.",
        class_ids,
    )
    with tf.control_dependencies([check]):
        return tf.identity(class_ids)


def _same_length(images, others, what):
    return require(
        tf.equal(tf.shape(images)[0], tf.shape(others)[0]),
        f"Expected one {what} for each image. Received {{}} images and {{}} {what}s.",
        tf.shape(images)[0],
        tf.shape(others)[0],
    )
