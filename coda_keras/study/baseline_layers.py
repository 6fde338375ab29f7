"""Input×Gradient of the layers of an ordinary classifier, for Fig. A.7."""

from contextlib import ExitStack
from functools import partial
from typing import Any

import keras
import numpy as np
from keras import ops

from coda_keras import backend
from coda_keras.attribution.base import class_logits
from coda_keras.attribution.interception import intercepted

MOST_COLUMNS = 8


def input_x_gradient_of_layers(
    model: Any, images: np.ndarray, class_ids: np.ndarray
) -> list[tuple[str, np.ndarray]]:
    """Activations times gradients of a class logit for layers of a functional model (Fig. A.7).

    Returns:
        A list of `(title, maps)`, maps `(B, h, w)` summed over the channels: of the image, then
        of at most eight activation layers, evenly chosen among those with names of their own.

    Raises:
        ValueError: if the model is not functional, or has no such activations.
    """
    if not getattr(model, "inputs", None):
        raise ValueError("the baseline is no functional model")
    layers = _activation_layers(model)
    images = ops.convert_to_tensor(images)
    inside = keras.Model(model.inputs, {layer.name: layer.output for layer in layers})
    outputs = inside(images, training=False)
    values = [images, *(outputs[layer.name] for layer in layers)]

    def logits(shifts):
        """The class logits with something added to the image and the outputs of each layer."""
        with ExitStack() as stack:
            for layer, shift in zip(layers, shifts[1:]):
                stack.enter_context(intercepted(layer, partial(ops.add, shift)))
            return class_logits(model, images + shifts[0], class_ids)

    gradients = backend.gradient(logits, [ops.zeros_like(value) for value in values])
    maps = [ops.convert_to_numpy(ops.sum(v * g, axis=-1)) for v, g in zip(values, gradients)]
    return list(zip(["pixels", *(layer.name for layer in layers)], maps))


def _activation_layers(model):
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
    return [layers[int(i)] for i in picked]
