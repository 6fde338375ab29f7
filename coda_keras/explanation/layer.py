"""Explanations of activations inside a net, by the inputs of any earlier layer (eq. 7)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic

import numpy as np
from keras import ops

from coda_keras import backend
from coda_keras.backend.types import Tensor
from coda_keras.explanation.explanation import encoded_batch, known_class_names
from coda_keras.explanation.tensors import Array, Tensors
from coda_keras.layers.dynamic_linear import linearize
from coda_keras.layers.offset import pull
from coda_keras.utils.text import listed, nearest


@dataclass(frozen=True, eq=False, repr=False)
class LayerExplanation(Tensors, Generic[Array]):
    """An intermediate activation and what the inputs of an earlier layer contributed to it.

    Attributes:
        activation: `(B,)`, the activation explained.
        weights: `(B, H, W, C)`, rows of `W_{l1->l2}(x)`; C is 6 when explained from the image.
        contributions: `(B, H, W, C)`, weights times the output of layer l1.
        contribution_map: `(B, H, W)`, contributions summed over the channels.
        offset: `(B,)`, what constants added by the layers between contribute: the activation is
            `sum(contributions) + offset`.
    """

    axes: ClassVar[dict[str, str]] = {
        "activation": "B",
        "weights": "BHWC",
        "contributions": "BHWC",
        "contribution_map": "BHW",
        "offset": "B",
    }

    activation: Array
    weights: Array
    contributions: Array
    contribution_map: Array
    offset: Array | None = None

    def numpy(self) -> "LayerExplanation[np.ndarray]":
        """Returns the same with NumPy arrays instead of backend tensors."""
        return super().numpy()


backend.register_tree(LayerExplanation)


def explain_layer(
    net: Any,
    images: Tensor,
    layer: int | str,
    channel: int | str | Sequence[int] | Sequence[str],
    position: tuple[int, int] | None = None,
    from_layer: int | str = 0,
) -> LayerExplanation[Tensor]:
    """Explains an activation of a layer, or a logit, by the inputs of an earlier layer.

    Args:
        net: a `CoDANet` of L layers.
        images: `(B, H, W, 3)` in [0, 1], or `(B, H, W, 6)` encoded.
        layer: the layer l2 whose output is explained: its number, counted from 1, or its name; or
            `"logits"`, whose channels are the classes.
        channel: int, the channel of that output, or `(B,)` integers, one for each image. In the
            last layer and of logits also names of classes.
        position: `(row, column)` of that output; None for the sum over all positions. Logits have
            no positions.
        from_layer: the layer l1 whose output the contributions are those of, by number or name:
            l1 < l2, and up to L for logits; 0 for the encoded image.

    Returns:
        A `LayerExplanation`. Of logits, `activation` is the logit less b_0, to which the
        contributions of any layer sum, up to `offset`.

    Raises:
        ValueError: if a layer, channel or position does not exist, or as for `explain`.

    Example:

    >>> layers = [DAUConv2D(4, 2, 3, name="first"), DAUConv2D(2, 2, 3, name="last")]
    >>> net = CoDANet(layers, temperature=10, class_names=["cat", "dog"])
    >>> images = np.ones((1, 9, 9, 3), "float32")
    >>> explanation = explain_layer(net, images, "last", "dog", from_layer="first")
    >>> explanation.numpy().contributions.shape
    (1, 9, 9, 4)
    """
    encoded = encoded_batch(net, images)
    require_layers(net)
    depth = len(net.body)
    last = depth + 1 if layer == "logits" else _number(net, layer)
    first = _number(net, from_layer)
    integers = hasattr(last, "__index__") and hasattr(first, "__index__")
    if not integers or not 0 <= first < last <= depth + (layer == "logits"):
        raise ValueError(
            f"Expected 0 <= from_layer < layer <= {depth}, the number of layers, or "
            f"layer='logits'. Received: layer={layer!r}, from_layer={from_layer!r}."
        )
    start, _ = linearize(net.body[:first], encoded)
    rest = net.chain[first:] if layer == "logits" else net.body[first:last]
    outputs, pullback = linearize(rest, start)
    named = known_class_names(net) if last >= depth else None
    chosen = _one_channel(layer, _class_ids(layer, channel, named), outputs)
    if position is not None:
        chosen = chosen * _one_position(layer, position, outputs)
    weights, offset = pull(pullback, ops.broadcast_to(chosen, ops.shape(outputs)))
    contributions = weights * ops.cast(start, weights.dtype)
    return LayerExplanation(
        activation=ops.sum(outputs * chosen, axis=tuple(range(1, len(outputs.shape)))),
        weights=weights,
        contributions=contributions,
        contribution_map=ops.sum(contributions, axis=-1),
        offset=ops.cast(offset, weights.dtype) + ops.zeros_like(weights[:, 0, 0, 0]),
    )


def require_layers(net: Any) -> None:
    """Raises ValueError for a net that is no chain of layers, such as an average of nets."""
    if not hasattr(net, "body"):
        raise ValueError(
            f"{net!r} is no chain of layers, so none of its layers can be explained. Give one of "
            "the nets that it is made of."
        )


def _number(net: Any, layer: Any) -> Any:
    """The number of a layer that was given by its name; anything else as it is."""
    if not isinstance(layer, str):
        return layer
    names = [member.name for member in net.body]
    if layer not in names:
        raise ValueError(
            f"There is no layer {layer!r}.{nearest(layer, [*names, 'logits'])} Expected a number "
            f"up to {len(names)}, layer='logits' or one of {listed(names, longest=None)}."
        )
    return names.index(layer) + 1


def _class_ids(layer: Any, channel: Any, names: Sequence[str] | None) -> Any:
    """Channels as they are, but for names of classes, of which it returns the ids."""
    given = [channel] if isinstance(channel, str) else channel
    if not isinstance(given, (list, tuple)) or not any(isinstance(name, str) for name in given):
        return channel
    if names is None:
        raise ValueError(
            f"Layer {layer} has channels by number; names are those of classes, in the last layer "
            f"of a net with `class_names`. Received: channel={channel!r}."
        )
    for name in given:
        if name not in names:
            raise ValueError(
                f"There is no class {name!r}.{nearest(str(name), names)} "
                f"Expected some of {listed(names)}."
            )
    ids = [names.index(name) for name in given]
    return ids[0] if isinstance(channel, str) else ids


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
    if np.shape(position) != (2,) or not all(hasattr(index, "__index__") for index in position):
        raise ValueError(
            f"`position` must be two integers (row, column). Received: position={position!r}."
        )
    row, column = position
    if not (0 <= row < height and 0 <= column < width):
        raise ValueError(
            f"Layer {layer} has {height}x{width} positions for these images. "
            f"Received: position={tuple(position)}."
        )
    chosen = np.zeros((1, height, width, 1), "float32")
    chosen[0, row, column] = 1
    return ops.convert_to_tensor(chosen, outputs.dtype)
