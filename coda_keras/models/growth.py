"""A trained net as the beginning of another: larger ranks, or other classes."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from coda_keras.layers.dau import DAUConv2D
from coda_keras.models.coda_net import CoDANet


def copy_weights(source: CoDANet, target: CoDANet) -> None:
    """Gives `target` the weights of `source`, whose ranks may be smaller.

    What a larger rank adds to a trained unit starts with zero columns in A_j and the columns of B
    that `target` was initialised with, so that `target` computes what `source` does until it is
    trained on. A last layer for other classes keeps its initial values.

    Args:
        source: a built `CoDANet`.
        target: a built `CoDANet` of the same layers; nothing is copied if one does not fit.

    Raises:
        ValueError: if one is no `CoDANet`, they have other layers, channels, kernel sizes,
            strides, rescaling or filters, or `target` a smaller rank.
    """
    for net in (source, target):
        _require_coda_net(net)
    if len(source.body) != len(target.body):
        raise ValueError(
            f"Weights can be copied between nets of as many layers. Received {len(source.body)} "
            f"and {len(target.body)} layers."
        )
    names = source.class_names, target.class_names
    pairs = list(zip(source.body, target.body))
    if source.classes != target.classes or (None not in names and names[0] != names[1]):
        head = last_layer(target)
        pairs = [pair for pair in pairs if pair[1] is not head]
    grown = [_grown(*pair) for pair in pairs]
    for (_, layer), weights in zip(pairs, grown):
        layer.set_weights(weights)


def for_classes(
    net: CoDANet, class_names: Sequence[str], image_size: int | tuple[int, int], name: str
) -> CoDANet:
    """Builds a net of the same layers with initial weights, and a last one for other classes.

    Args:
        net: a built `CoDANet`, whose last layer with weights has a unit for every class.
        class_names: the other classes.
        image_size: int or `(height, width)`.
        name: str, of the new net.

    Returns:
        A `CoDANet`. If b_0 of `net` is that of a probability of one in as many as there are
        classes, `-log(classes - 1)`, so is the new one; else it stays.

    Raises:
        ValueError: if `net` is no `CoDANet`, or its last layer with weights has no number of units.
    """
    _require_coda_net(net)
    config = net.get_config()
    layer = config["layers"][net.body.index(last_layer(net))]["config"]
    layer[_units(layer)] = len(class_names)
    if math.isclose(net.logit_bias, -math.log(max(1, net.classes - 1))) and len(class_names) > 1:
        config["logit_bias"] = -math.log(len(class_names) - 1)
    config.update(class_names=list(class_names), image_size=image_size, name=name)
    return CoDANet.from_config(config)


def last_layer(net: CoDANet) -> Any:
    """The last layer of a net that has weights."""
    return next(layer for layer in reversed(net.body) if layer.weights)


def _require_coda_net(net):
    if not isinstance(net, CoDANet):
        raise ValueError(
            "Weights are copied between nets of the class `CoDANet`. Received: "
            f"{net.name!r} of the class `{type(net).__name__}`."
        )


def _units(config):
    for name in ("filters", "units"):
        if name in config:
            return name
    raise ValueError(
        f"The last layer of the net, {config['name']!r}, has no number of units to change for "
        "other classes."
    )


def _grown(source, target):
    old, new = source.get_weights(), target.get_weights()
    kinds = {type(source), type(target)}
    for name in ("strides", "rescale") if len(kinds) == 1 else ():
        given = [getattr(layer, name, None) for layer in (source, target)]
        if given[0] != given[1]:
            raise ValueError(
                f"The weights of {source.name!r}, which has {name}={given[0]!r}, do not fit "
                f"{target.name!r}. Expected the same {name}. Received: {name}={given[1]!r}."
            )
    if kinds == {DAUConv2D}:
        ranks = source.rank, target.rank
        same = source.use_bias == target.use_bias and _sizes(old) == _sizes(new)
        if same and ranks[0] <= ranks[1]:
            more = ranks[1] - ranks[0]
            projection = np.concatenate([old[0], new[0][..., ranks[0] :]], axis=-1)
            kernel = np.pad(old[1], [(0, 0)] * 4 + [(0, more)])
            return [projection, kernel, *old[2:]]
    elif len(kinds) == 1 and _shapes(old) == _shapes(new):
        return old
    raise ValueError(
        f"The weights of {source.name!r} do not fit {target.name!r}. Expected layers alike but for "
        f"a larger rank. Received weights of the shapes {_shapes(old)} for {_shapes(new)}."
    )


def _shapes(weights):
    return [array.shape for array in weights]


def _sizes(weights):
    """Shapes of B and A_j without their ranks."""
    return [shape[:-1] for shape in _shapes(weights[:2])]
