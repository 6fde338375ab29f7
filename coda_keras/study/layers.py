"""What the layers of a network contribute, for Fig. A.6, A.7 and the figure `layers`."""

from contextlib import ExitStack
from typing import Any

import keras
import numpy as np
from keras import ops

from coda_keras import backend
from coda_keras.attribution.base import class_logits
from coda_keras.attribution.interception import intercepted

MOST_COLUMNS = 8


def layer_to_class(net: Any, images: np.ndarray, class_ids: np.ndarray) -> list[np.ndarray]:
    """Contributions of every layer's outputs to a class logit of a `CoDANet` (Fig. A.6).

    Returns:
        A list with an array `(B, h, w, C)` for the encoded image and for every layer of the
        body: rows of `W_{l->L}(x)` times the outputs of layer l.
    """
    found = [
        net.explain_layer(images, "logits", class_ids, from_layer=depth)
        for depth in range(len(net.body) + 1)
    ]
    return [ops.convert_to_numpy(each.contributions) for each in found]


def strongest_channels(contributions: list[np.ndarray]) -> np.ndarray:
    """The channel of every layer that contributes most to the class: `(layers, B)`."""
    return np.array([values.sum(axis=(1, 2)).argmax(-1) for values in contributions])


def input_to_channels(net: Any, images: np.ndarray, channels: np.ndarray) -> np.ndarray:
    """Contribution maps of the pixels to one channel of every layer, for every image.

    Args:
        net: a `CoDANet` of L layers.
        images: `(B, H, W, 3)`.
        channels: `(L, B)`, the channel explained.

    Returns:
        `(L, B, H, W)`.
    """
    found = [net.explain_layer(images, depth, of) for depth, of in enumerate(channels, start=1)]
    return np.stack([ops.convert_to_numpy(each.contribution_map) for each in found])


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
    seen = {}

    def logits(shifts):
        """The class logits with something added to the outputs of each layer."""
        with ExitStack() as stack:
            for layer, shift in zip(layers, shifts[1:]):

                def shifted(outputs, layer=layer, shift=shift):
                    seen[layer.name] = outputs
                    return outputs if shift is None else outputs + shift

                stack.enter_context(intercepted(layer, shifted))
            image = images if shifts[0] is None else images + shifts[0]
            return class_logits(model, image, class_ids)

    logits([None] * (1 + len(layers)))
    values = [images, *(seen[layer.name] for layer in layers)]
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
