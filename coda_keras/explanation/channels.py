"""What the channels inside contribute to a logit, and from which pixels they have it.

Only the protocol is used here, no layer in particular.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from coda_keras.backend.types import Tensor
from coda_keras.layers.encoding import encode
from coda_keras.utils.arguments import positive_int


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
    net: Any, images: Tensor, class_ids: ArrayLike, count: int = 3
) -> ChannelContributions:
    """Finds the channels of every layer that contribute most to a class, and their pixels.

    With g_l = W_{l->L}(x)^T e_class the cotangent at the outputs y_l of layer l, channel c adds

        sum_positions(g_l[c] y_l[c])

    to the logit, and what of it comes from a pixel is W_{0->l}(x)^T (g_l with all other channels
    0) times the encoded pixel.

    Args:
        net: a `CoDANet` of L layers.
        images: `(B, H, W, 3)` in [0, 1], or `(B, H, W, 6)` encoded.
        class_ids: `(B,)` integers.
        count: int k, channels of each layer; fewer where a layer has fewer than k, and then of
            all layers.

    Returns:
        `ChannelContributions` of NumPy arrays.

    Raises:
        ValueError: if class ids do not fit, or `count` is not positive.
    """
    encoded = encode(ops.convert_to_tensor(images))
    outputs, pullbacks, values = encoded, [], []
    for layer in net.chain:
        outputs, pullback = layer.linearize(outputs)
        pullbacks.append(pullback)
        values.append(outputs)
    class_ids = np.asarray(class_ids)
    classes = outputs.shape[-1]
    if class_ids.shape != (len(images),) or not np.all((class_ids >= 0) & (class_ids < classes)):
        raise ValueError(
            f"Expected a class id in 0 to {classes - 1} for each of {len(images)} images. "
            f"Received: {class_ids}."
        )
    positive_int("count", count)

    depth = len(net.body)
    count = min(count, *(value.shape[-1] for value in values[:depth]))
    cotangent = ops.one_hot(class_ids, classes, dtype=outputs.dtype)
    found = []
    for index in reversed(range(len(pullbacks))):
        if index < depth:
            found.append(
                _strongest(values[index], cotangent, pullbacks[: index + 1], encoded, count)
            )
        cotangent = pullbacks[index](cotangent)
    channels, contributions, maps = (np.stack(each, axis=1) for each in zip(*reversed(found)))
    names = tuple(layer.name for layer in net.body)
    return ChannelContributions(names, class_ids, channels, contributions, maps)


def _strongest(outputs, cotangent, pullbacks, encoded, count):
    """Channels `(B, k)`, contributions `(B, k)` and maps `(B, k, H, W)` of one layer."""
    # Layers in mixed precision have another dtype than the sums after them.
    cotangent = ops.cast(cotangent, outputs.dtype)
    contributions = ops.convert_to_numpy(ops.sum(ops.cast(outputs * cotangent, "float32"), (1, 2)))
    channels = np.argsort(-contributions, axis=1, kind="stable")[:, :count]
    maps = []
    for rank in range(count):
        weights = (
            cotangent
            * ops.one_hot(channels[:, rank], outputs.shape[-1], dtype=outputs.dtype)[:, None, None]
        )
        for pullback in reversed(pullbacks):
            weights = pullback(weights)
        maps.append(ops.convert_to_numpy(ops.sum(weights * ops.cast(encoded, weights.dtype), -1)))
    return channels, np.take_along_axis(contributions, channels, axis=1), np.stack(maps, axis=1)
