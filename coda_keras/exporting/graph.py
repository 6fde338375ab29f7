"""The one graph of files for other runtimes: what a net answers to images, and why.

================================  ================================================================
input                             what it is
================================  ================================================================
`images (B, H, W, 3)`             float32, RGB in [0, 1]
`target_class_ids (B,)`           int32, the classes to explain; -1 for the predicted class. One
                                  id serves all images
================================  ================================================================

================================  ================================================================
output                            what it is
================================  ================================================================
`logits (B, classes)`
`probabilities (B, classes)`      their sigmoids (one-vs-all)
`class_ids (B,)`                  int32, the classes explained
`contribution_map (B, H, W)`      contributions summed over the channels, in logits
`contributions (B, H, W, 6)`      weights times the encoded image
`weights (B, H, W, 6)`            rows of `W_{0->L}(x)`
`residual (B,)`                   logit minus bias, offset and the sum of contributions: rounding
`offset (B,)`                     what constants inside of the net add; 0 in a `CoDANet` of DAUs
================================  ================================================================

Few runtimes can refuse a value, so that the graph itself answers NaN where a servable would
refuse: everything of an image with values outside [0, 1] or NaN, and everything that explains a
class that there is not. The class id of what is not explained is -1.
"""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from coda_keras import backend
from coda_keras.explanation.computing import explained, logit_bias
from coda_keras.layers.encoding import encode
from coda_keras.utils.arguments import one_of

# Inputs and outputs share one space of names in ONNX, so that this is not `class_ids` too.
TARGETS = "target_class_ids"
PREDICTED = -1
SCORES = ("logits", "probabilities")
OUTPUTS = (
    *SCORES,
    "class_ids",
    "contribution_map",
    "contributions",
    "weights",
    "residual",
    "offset",
)
# A built float32 `DynamicLinearNet` with an `image_size`.
Net = Any
Function = Callable[..., dict[str, tf.Tensor]]


def specs(net: Net, outputs: Sequence[str] = OUTPUTS) -> list[tf.TensorSpec]:
    """The inputs that outputs need: without class ids if none of them explains."""
    images = tf.TensorSpec((None, *net.image_size, 3), tf.float32, name="images")
    explains = set(outputs) - set(SCORES)
    return [images, tf.TensorSpec((None,), tf.int32, name=TARGETS)] if explains else [images]


def function(net: Net, outputs: Sequence[str] = OUTPUTS) -> Function:
    """The graph as a `tf.function` of the inputs that `specs` names.

    Args:
        net: a built float32 net with an `image_size`.
        outputs: names of the outputs wanted.

    Raises:
        ValueError: if an output is unknown, or there is none.
    """
    if not outputs:
        raise ValueError(f"`outputs` is empty. Expected some of {', '.join(OUTPUTS)}.")
    for name in outputs:
        one_of("outputs", name, OUTPUTS)

    (height, width), bias = net.image_size, logit_bias(net)

    def scores(images):
        # Of the height and width of images, which LiteRT would else take in other sizes.
        low, high = tf.zeros((1, height, 1, 1)), tf.ones((1, 1, width, 1))
        valid = tf.reduce_all((images >= low) & (images <= high), axis=(1, 2, 3))
        encoded = encode(images)
        linear, pullback = net.linearize(encoded)
        logits = tf.where(valid[:, None], linear + bias, float("nan"))
        return valid, encoded, linear, pullback, logits

    def classify(images):
        logits = scores(images)[-1]
        answer = {"logits": logits, "probabilities": tf.sigmoid(logits)}
        return {name: answer[name] for name in outputs}

    def explain(images, target_class_ids):
        valid, encoded, linear, pullback, logits = scores(images)
        best = backend.argmax(linear, axis=-1)
        ids = tf.broadcast_to(target_class_ids, tf.shape(images)[:1])
        ids = tf.where(ids == PREDICTED, best, ids)
        valid &= (ids >= 0) & (ids < net.classes)
        tensors = explained(encoded, logits, bias, pullback, ids, valid)
        answer = {
            **tensors,
            "probabilities": tf.sigmoid(logits),
            "class_ids": tf.where(valid, ids, PREDICTED),
            "offset": tf.where(valid, tensors["offset"], float("nan")),
        }
        return {name: answer[name] for name in outputs}

    inputs = specs(net, outputs)
    traced = classify if len(inputs) == 1 else explain
    return tf.function(traced, autograph=False, input_signature=inputs)
