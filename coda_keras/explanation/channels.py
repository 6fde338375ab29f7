"""What the channels of every layer contribute to a logit, and which pixels that comes from.

Only the protocol is used here, no layer in particular.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from coda_keras.backend.types import Tensor
from coda_keras.explanation.computing import compiled_for
from coda_keras.explanation.explanation import encoded_batch
from coda_keras.explanation.layer import require_layers
from coda_keras.utils.arguments import one_of, positive_int
from coda_keras.utils.labels import checked_class_ids

EXPLAINED = ("logit", "channel")


@dataclass(frozen=True, eq=False)
class ChannelContributions:
    """The strongest channels of every layer for one class of each image.

    The contributions of all channels of a layer sum to the logit less b_0, and the map of a
    channel sums to its contribution.

    Attributes:
        names: L strings, the layers.
        class_ids: `(B,)`, the class.
        channels: `(B, L, k)` integers, the strongest first.
        contributions: `(B, L, k)`, what each channel adds to the logit.
        maps: `(B, L, k, H, W)`, the same by pixel.
    """

    names: tuple[str, ...]
    class_ids: np.ndarray
    channels: np.ndarray
    contributions: np.ndarray
    maps: np.ndarray


def strongest_channels(
    net: Any,
    images: Tensor,
    class_ids: ArrayLike,
    count: int = 3,
    explained: str = "logit",
) -> ChannelContributions:
    """Finds the channels of every layer that contribute most to a class, and their pixels.

    With g_l = W_{l->L}(x)^T e_class the cotangent at the outputs y_l of layer l, channel c adds

        sum_positions(g_l[c] y_l[c])

    to the logit, and what of it comes from a pixel is W_{0->l}(x)^T (g_l with all other channels
    0) times the encoded pixel. The images pass through the net once.

    Args:
        net: a `CoDANet` of L layers.
        images: `(B, H, W, 3)` in [0, 1], or `(B, H, W, 6)` encoded.
        class_ids: `(B,)` integers.
        count: int k, channels of each layer; fewer where a layer has fewer than k, and then of
            all layers.
        explained: what the maps sum to: `"logit"` for the channel's contribution to it, or
            `"channel"` for the sum of the channel itself over its positions, which is the same
            with 1 in the place of g_l[c].

    Returns:
        `ChannelContributions` of NumPy arrays.

    Raises:
        ValueError: if class ids or `explained` do not fit, or `count` is not positive.
    """
    positive_int("count", count)
    one_of("explained", explained, EXPLAINED)
    encoded = encoded_batch(net, images)
    require_layers(net)
    class_ids = _checked(class_ids, encoded, net)

    def step(net, encoded, class_ids):
        outputs, pullbacks = _linearized(net, encoded)
        body = outputs[1 : len(net.body) + 1]
        shown = min(count, *(values.shape[-1] for values in body))
        cotangents = _cotangents(class_ids, outputs, pullbacks)
        layers = [
            _strongest(values, cotangents[depth], pullbacks[:depth], encoded, shown, explained)
            for depth, values in enumerate(body, start=1)
        ]
        channels, contributions, maps = (ops.stack(part, axis=1) for part in zip(*layers))
        return {"channels": channels, "contributions": contributions, "maps": maps}

    run = compiled_for(net, ("channels", count, explained), step)
    tensors = step(net, encoded, class_ids) if net.run_eagerly else run(encoded, class_ids)
    arrays = {name: ops.convert_to_numpy(values) for name, values in tensors.items()}
    return ChannelContributions(tuple(layer.name for layer in net.body), class_ids, **arrays)


def layer_contributions(net: Any, images: Tensor, class_ids: ArrayLike) -> list[np.ndarray]:
    """What the outputs of every layer contribute to a class logit, value by value.

    Args:
        net: a `CoDANet` of L layers.
        images: `(B, H, W, 3)` in [0, 1], or `(B, H, W, 6)` encoded.
        class_ids: `(B,)` integers.

    Returns:
        L + 1 arrays `(B, h, w, C)`, of the encoded image and of the outputs of every layer: rows
        of `W_{l->L}(x)` times the outputs of layer l. Each sums to the logit less b_0.

    Raises:
        ValueError: if class ids do not fit.
    """
    encoded = encoded_batch(net, images)
    require_layers(net)
    outputs, pullbacks = _linearized(net, encoded)
    cotangents = _cotangents(_checked(class_ids, encoded, net), outputs, pullbacks)
    return [
        ops.convert_to_numpy(cotangent * ops.cast(values, cotangent.dtype))
        for values, cotangent in zip(outputs[: len(net.body) + 1], cotangents)
    ]


def _linearized(net, encoded):
    """The encoded images and what every link of the chain makes of them, and its pullbacks."""
    outputs, pullbacks = [encoded], []
    for layer in net.chain:
        values, pullback = layer.linearize(outputs[-1])
        outputs.append(values)
        pullbacks.append(pullback)
    return outputs, pullbacks


def _checked(class_ids, encoded, net):
    class_ids = np.asarray(class_ids)
    if class_ids.shape != (len(encoded),):
        raise ValueError(
            f"Expected a class id for each of {len(encoded)} images. Received: {class_ids}."
        )
    checked_class_ids(class_ids, len(encoded), net.classes)
    return class_ids


def _cotangents(class_ids, outputs, pullbacks):
    """The cotangents of a class logit at the encoded images and at the outputs of every link."""
    logits = outputs[-1]
    cotangents = [ops.one_hot(class_ids, logits.shape[-1], dtype=logits.dtype)]
    for pullback in reversed(pullbacks):
        cotangents.insert(0, pullback(cotangents[0]))
    return cotangents


def _strongest(outputs, cotangent, pullbacks, encoded, count, explained):
    """Channels `(B, k)`, contributions `(B, k)` and maps `(B, k, H, W)` of one layer."""
    # Layers in mixed precision have another dtype than the sums after them.
    cotangent = ops.cast(cotangent, outputs.dtype)
    contributions = ops.sum(ops.cast(outputs * cotangent, "float32"), (1, 2))
    channels = ops.argsort(-contributions, axis=1)[:, :count]
    begin = cotangent if explained == "logit" else ops.ones_like(outputs)
    maps = []
    for rank in range(count):
        one_hot = ops.one_hot(channels[:, rank], outputs.shape[-1], dtype=outputs.dtype)
        weights = begin * one_hot[:, None, None]
        for pullback in reversed(pullbacks):
            weights = pullback(weights)
        maps.append(ops.sum(weights * ops.cast(encoded, weights.dtype), -1))
    return channels, ops.take_along_axis(contributions, channels, axis=1), ops.stack(maps, axis=1)
