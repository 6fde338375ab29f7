"""Where a logit comes from: evidence by position, and which pixels a position sees.

The one place in this package that looks inside a network. It lets occlusion hide several windows
of an image at once, exactly: a position of a `CoDANet`'s last layer sees a patch of the image
only, and the logits are sums over positions.
"""

from typing import NamedTuple

import numpy as np

from coda_keras.dau import DAUConv2D
from coda_keras.dynamic_linear import linearize
from coda_keras.encoding import encode
from coda_keras.net import CoDANet


class ReceptiveField(NamedTuple):
    """Position o of the output sees the pixels `o * stride + offset` to `... + size - 1`."""

    size: int
    stride: int
    offset: int


def receptive_field(model):
    """The receptive field of every position of the evidence, or None for the whole image."""
    if not isinstance(model, CoDANet) or type(model).call is not CoDANet.call:
        return None
    if any(type(layer) is not DAUConv2D for layer in model.body):
        return None
    size, stride, offset = 1, 1, 0
    for layer in model.body:
        size += (layer.kernel_size - 1) * stride
        offset -= (layer.kernel_size - 1) // 2 * stride
        stride *= layer.strides
    return ReceptiveField(size, stride, offset)


def evidence(model, images):
    """What sums to the logits, up to a constant: `(B, h, w, classes)`, h = w = 1 if unknown."""
    if receptive_field(model) is None:
        return model(images, training=False)[:, None, None]
    outputs, _ = linearize([*model.body, model.scaling], encode(images))
    return outputs


def sees(field, positions, first, last):
    """Which positions along an axis see which windows.

    Args:
        field: a `ReceptiveField` or None.
        positions: int, number of positions.
        first, last: `(n,)`, first and last pixel of every window, ascending.

    Returns:
        Bool array `(n, positions)`.
    """
    if field is None:
        return np.ones((len(first), positions), bool)
    start = np.arange(positions) * field.stride + field.offset
    return (first[:, None] < start + field.size) & (last[:, None] >= start)


def period(seen):
    """Smallest p such that no position sees two windows of `p` or more apart in the order."""
    return next(p for p in range(1, len(seen) + 1) if not (seen[:-p] & seen[p:]).any())
