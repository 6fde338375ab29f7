"""Explanations of what happens inside: activations by the inputs of any earlier layer (eq. 7)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic

import numpy as np
from keras import ops

from coda_keras import backend
from coda_keras.backend.types import Tensor
from coda_keras.explanation.explanation import encoded_batch
from coda_keras.explanation.tensors import Array, Tensors
from coda_keras.layers.dynamic_linear import linearize


@dataclass(frozen=True, eq=False, repr=False)
class LayerExplanation(Tensors, Generic[Array]):
    """An intermediate activation and what the inputs of an earlier layer contributed to it.

    Attributes:
        activation: `(B,)`, the activation explained.
        weights: `(B, H, W, C)`, rows of `W_{l1->l2}(x)`; C is 6 when explained from the image.
        contributions: `(B, H, W, C)`, weights times the inputs of layer l1.
        contribution_map: `(B, H, W)`, contributions summed over the channels.
    """

    axes: ClassVar[dict[str, str]] = {
        "activation": "B",
        "weights": "BHWC",
        "contributions": "BHWC",
        "contribution_map": "BHW",
    }

    activation: Array
    weights: Array
    contributions: Array
    contribution_map: Array

    def numpy(self) -> "LayerExplanation[np.ndarray]":
        """Returns the same with NumPy arrays instead of backend tensors."""
        return super().numpy()


backend.register_tree(LayerExplanation)


def explain_layer(
    net: Any,
    images: Tensor,
    layer: int | str,
    channel: int | Sequence[int],
    position: tuple[int, int] | None = None,
    from_layer: int = 0,
) -> LayerExplanation[Tensor]:
    """Explains an activation of a layer, or a logit, by the inputs of an earlier layer.

    Args:
        net: a `CoDANet` of L layers.
        images: `(B, H, W, 3)` in [0, 1], or `(B, H, W, 6)` encoded.
        layer: int l2, counted from 1: the layer whose output is explained; or `"logits"`, whose
            channels are the classes.
        channel: int, the channel of that output, or `(B,)` integers, one for each image.
        position: `(row, column)` of that output; None for the sum over all positions. Logits have
            no positions.
        from_layer: int l1 < l2, up to L for logits; contributions are those of the output of layer
            l1, 0 meaning the encoded image.

    Returns:
        A `LayerExplanation`. Of logits, `activation` is the logit less b_0, to which the
        contributions of any layer sum.

    Raises:
        ValueError: if a layer, channel or position does not exist, or as for `explain`.
    """
    encoded = encoded_batch(net, images)
    depth = len(net.body)
    last: Any = depth + 1 if layer == "logits" else layer
    integers = hasattr(last, "__index__") and hasattr(from_layer, "__index__")
    if not integers or not 0 <= from_layer < last <= depth + (layer == "logits"):
        raise ValueError(
            f"Expected 0 <= from_layer < layer <= {depth}, the number of layers, or "
            f"layer='logits'. Received: layer={layer!r}, from_layer={from_layer!r}."
            + _numbers(net, (layer, from_layer))
        )
    start, _ = linearize(net.body[:from_layer], encoded)
    rest = net.chain[from_layer:] if layer == "logits" else net.body[from_layer:layer]
    outputs, pullback = linearize(rest, start)
    chosen = _one_channel(layer, channel, outputs)
    if position is not None:
        chosen = chosen * _one_position(layer, position, outputs)
    weights = pullback(ops.broadcast_to(chosen, ops.shape(outputs)))
    contributions = weights * ops.cast(start, weights.dtype)
    return LayerExplanation(
        activation=ops.sum(outputs * chosen, axis=tuple(range(1, len(outputs.shape)))),
        weights=weights,
        contributions=contributions,
        contribution_map=ops.sum(contributions, axis=-1),
    )


def _numbers(net, given):
    """A hint at the numbers of layers that were given by name, or as they are."""
    numbers = [
        f"{layer.name!r} is layer {number}"
        for number, layer in enumerate(net.body, start=1)
        if any(item is layer or item == layer.name for item in given)
    ]
    return f" Layers are given by number: {', '.join(numbers)}." if numbers else ""


def _one_channel(layer, channel, outputs):
    """1 on the chosen channel of every image, `(B or 1, 1, 1, C)` or `(B or 1, C)`, else 0."""
    channels = outputs.shape[-1]
    given = np.asarray(ops.convert_to_numpy(channel))
    if given.dtype.kind not in "iu" or given.ndim > 1:
        raise ValueError(
            f"`channel` must be an integer, or one for each image. Received: channel={channel!r}."
        )
    if given.ndim and outputs.shape[0] not in (None, len(given)):
        raise ValueError(
            f"Expected a channel for each of {outputs.shape[0]} images. Received {len(given)}."
        )
    if given.size and not (given.min() >= 0 and given.max() < channels):
        raise ValueError(
            f"Layer {layer} has channels 0 to {channels - 1}. Received: channel={channel!r}."
        )
    chosen = np.eye(channels, dtype="float32")[given.reshape(-1)]
    shape = (len(chosen), *(1,) * (len(outputs.shape) - 2), channels)
    return ops.convert_to_tensor(chosen.reshape(shape), outputs.dtype)


def _one_position(layer, position, outputs):
    """1 on the chosen position, `(1, h, w, 1)`, else 0."""
    if len(outputs.shape) != 4:
        raise ValueError(f"Logits have no positions. Received: position={tuple(position)}.")
    height, width = outputs.shape[1:3]
    if np.shape(position) != (2,):
        raise ValueError(f"`position` must be (row, column). Received: position={position!r}.")
    row, column = position
    if not (0 <= row < height and 0 <= column < width):
        raise ValueError(
            f"Layer {layer} has {height}x{width} positions for these images. "
            f"Received: position={tuple(position)}."
        )
    chosen = np.zeros((1, height, width, 1), "float32")
    chosen[0, row, column] = 1
    return ops.convert_to_tensor(chosen, outputs.dtype)
