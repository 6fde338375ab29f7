"""What the layers of a network contribute, for Fig. A.6, A.7 and the per-layer figure."""

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from coda_keras import encode, linearize

MOST_COLUMNS = 8


def layer_to_class(net, images, class_ids):
    """Contributions of every layer's outputs to a class logit of a `CoDANet` (Fig. A.6).

    Returns:
        A list with an array `(B, h, w, C)` for the encoded image and for every layer of the
        body: rows of `W_{l->L}(x)` times the outputs of layer l.
    """
    outputs = encode(ops.convert_to_tensor(images))
    contributions = []
    for depth in range(len(net.body) + 1):
        logits, pullback = linearize(net.chain[depth:], outputs)
        chosen = ops.one_hot(class_ids, logits.shape[-1], dtype=logits.dtype)
        weights = ops.cast(pullback(chosen), "float32")
        contributions.append(ops.convert_to_numpy(weights * ops.cast(outputs, "float32")))
        if depth < len(net.body):
            outputs, _ = net.body[depth].linearize(outputs)
    return contributions


def strongest_channels(contributions):
    """The channel of every layer that contributes most to the class: `(layers, B)`."""
    return np.array([values.sum(axis=(1, 2)).argmax(-1) for values in contributions])


def input_to_channels(net, images, channels):
    """Contribution maps of the pixels to one channel of every layer, for every image.

    Args:
        net: a `CoDANet` of L layers.
        images: `(B, H, W, 3)`.
        channels: `(L, B)`, the channel explained.

    Returns:
        `(L, B, H, W)`.
    """

    def contribution_map(layer, index):
        channel = int(channels[layer - 1][index])
        found = net.explain_layer(images[index : index + 1], layer, channel)
        return ops.convert_to_numpy(found.contribution_map)[0]

    depth, count = np.shape(channels)
    return np.array([[contribution_map(1 + i, j) for j in range(count)] for i in range(depth)])


def input_x_gradient_of_layers(model, images, class_ids):
    """Activations times gradients of a class logit for layers of a functional model (Fig. A.7).

    Returns:
        A list of `(title, maps)`, maps `(B, h, w)` summed over the channels: of the image, then
        of at most eight activation layers, evenly chosen among those with names of their own.

    Raises:
        ValueError: if the model is not functional, or has no such activations.
    """
    if not getattr(model, "inputs", None):
        raise ValueError("the baseline is no functional model")
    named = [
        layer
        for layer in model.layers
        if isinstance(layer, (keras.layers.Activation, keras.layers.ReLU))
        and len(layer.output.shape) == 4
    ]
    if not named:
        raise ValueError("the baseline has no activation layers with 4D output")
    # Named layers close blocks; automatic names ("activation_3") do not.
    blocks = [layer for layer in named if not layer.name.startswith(("activation", "re_lu"))]
    layers = blocks or named
    picked = np.unique(np.linspace(0, len(layers) - 1, min(len(layers), MOST_COLUMNS)).round())
    layers = [layers[int(i)] for i in picked]
    taps = keras.Model(model.inputs, [layer.output for layer in layers] + [model.output])
    images = tf.convert_to_tensor(images)
    with tf.GradientTape() as tape:
        tape.watch(images)
        *activations, logits = taps(images, training=False)
        chosen = tf.reduce_sum(logits * tf.one_hot(class_ids, logits.shape[-1]))
    values = [images, *activations]
    gradients = tape.gradient(chosen, values)
    maps = [tf.reduce_sum(v * g, axis=-1).numpy() for v, g in zip(values, gradients)]
    return list(zip(["pixels", *(layer.name for layer in layers)], maps))
