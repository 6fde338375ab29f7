"""A net for pages of the explorer that compute with it themselves."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from coda_keras.explorer import Network, Units
from coda_keras.layers.dau import DAUConv2D


def network(net: Any, class_names: Sequence[str] | None = None) -> Network:
    """Returns a net as arrays for `explorer.LiveView` and `explorer.View`.

    Pages store its weights in float16: those of the nets that ship are float16 already, others are
    rounded.

    Args:
        net: a `CoDANet` of `DAUConv2D` layers with an `image_size`.
        class_names: names of the classes, by class id; None for those of the net, and without them
            for numbers.

    Raises:
        ValueError: if it has other layers, takes images of any size, or has weights that float16
            cannot hold.

    Example:

    >>> from coda_keras import CoDANet
    >>> network(CoDANet([DAUConv2D(3, 2, 3)], image_size=8)).size
    (8, 8)
    """
    layers = getattr(net, "body", [net])
    others = {type(layer).__name__ for layer in layers if type(layer) is not DAUConv2D}
    if others:
        raise ValueError(
            "A page computes nets of DAUConv2D layers alone. "
            f"Received a net with {', '.join(sorted(others))}."
        )
    if net.image_size is None:
        raise ValueError(
            "A page needs to know the size of images, but this net takes any. Give it an "
            "`image_size`."
        )
    names = class_names or net.class_names or [str(number) for number in range(net.classes)]
    if len(names) != net.classes:
        raise ValueError(f"Expected {net.classes} names of classes. Received {len(names)}.")
    return Network(
        layers=[_units(layer) for layer in layers],
        temperature=net.temperature,
        bias=net.logit_bias,
        size=net.image_size,
        class_names=names,
    )


def small_network(net: Any, most_bytes: int) -> Network | None:
    """Returns a net as `network` does; None if its weights take more, or a page cannot compute it.

    Args:
        net: a built `CoDANet`.
        most_bytes: int, that the weights may take in float16.
    """
    try:
        return network(net) if 2 * net.count_params() <= most_bytes else None
    except ValueError:
        return None


def _units(layer: Any) -> Units:
    weights = (layer.projection, layer.kernel, layer.bias)
    arrays: list[Any] = [
        None if weight is None else np.asarray(ops.convert_to_numpy(weight), "float32")
        for weight in weights
    ]
    projection, kernel, bias = arrays
    return Units(projection, kernel, bias, layer.strides, layer.rescale)
