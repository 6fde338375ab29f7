"""Larger ranks for a trained net."""

import numpy as np

from coda_keras.layers.dau import DAUConv2D
from coda_keras.models.coda_net import CoDANet


def copy_weights(source: CoDANet, target: CoDANet) -> None:
    """Gives `target` the weights of `source`, whose ranks may be smaller.

    What a larger rank adds to a trained unit starts with zero columns in A_j and the columns of B
    that `target` was initialised with, so that `target` computes what `source` does until it is
    trained on.

    Args:
        source: a built `CoDANet`.
        target: a built `CoDANet` of the same layers; nothing is copied if one does not fit.

    Raises:
        ValueError: if the nets have other layers, channels, kernel sizes or filters, or `target` a
            smaller rank.
    """
    if len(source.body) != len(target.body):
        raise ValueError(
            f"Weights can be copied between nets of as many layers. Received {len(source.body)} "
            f"and {len(target.body)} layers."
        )
    grown = list(map(_grown, source.body, target.body))
    for layer, weights in zip(target.body, grown):
        layer.set_weights(weights)


def _grown(source, target):
    old, new = source.get_weights(), target.get_weights()
    kinds = {type(source), type(target)}
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
