"""Constants that a layer adds, kept apart from what it multiplies.

A layer with a bias or a positional embedding computes `y = W(x) x + o`. The constant o is no
product with the input, so no share of it belongs to a pixel. Such a layer says so:

    return outputs, with_offset(pullback, constant)

The pullback returns `W(x)^T g` as always, and beside it `g . o` for whoever asks by `pull`. Along a
chain these are added up, and a logit is `bias + sum(contributions) + offset`.
"""

from collections.abc import Callable

from keras import ops

from coda_keras.backend.types import Tensor

Pullback = Callable[[Tensor], Tensor]


class OffsetPullback:
    """A pullback that also tells what added constants contribute.

    Attributes:
        pull: function of a cotangent g `(B, ...)`; returns `W(x)^T g` and `g . o`, which is `(B,)`
            or the number 0.
    """

    def __init__(self, pull: Callable[[Tensor], tuple[Tensor, Tensor | float]]) -> None:
        self.pull = pull

    def __call__(self, cotangent: Tensor) -> Tensor:
        return self.pull(cotangent)[0]


def with_offset(pullback: Pullback, constant: Tensor) -> OffsetPullback:
    """Declares the constant that a layer adds to its outputs.

    Args:
        pullback: function of a cotangent, the transpose of what the layer multiplies by.
        constant: tensor that broadcasts to the outputs.

    Returns:
        A pullback, which `linearize` returns in the place of the one given.

    Example:

    >>> inputs, bias = np.ones((2, 3), "float32"), np.array([1.0, 2.0, 3.0], "float32")
    >>> outputs, pullback = 5 * inputs + bias, with_offset(lambda cotangent: 5 * cotangent, bias)
    >>> pulled, offset = pull(pullback, ops.ones((2, 3)))
    >>> ops.convert_to_numpy(pulled)[0].tolist(), ops.convert_to_numpy(offset).tolist()
    ([5.0, 5.0, 5.0], [6.0, 6.0])
    """

    def both(cotangent):
        pulled, offset = pull(pullback, cotangent)
        return pulled, offset + inner(cotangent, constant)

    return OffsetPullback(both)


def pull(pullback: Pullback, cotangent: Tensor) -> tuple[Tensor, Tensor | float]:
    """Applies a pullback: `W(x)^T g`, and `g . o`, `(B,)` or the number 0 where nothing is added.

    Args:
        pullback: as `linearize` returns it.
        cotangent: g, of the outputs' shape.
    """
    if isinstance(pullback, OffsetPullback):
        return pullback.pull(cotangent)
    return pullback(cotangent), 0.0


def compose(pullbacks: list[Pullback]) -> OffsetPullback:
    """The pullback of layers applied in turn, from theirs in the same order."""

    def composed(cotangent):
        total = 0.0
        for pullback in reversed(pullbacks):
            cotangent, offset = pull(pullback, cotangent)
            total = total + offset
        return cotangent, total

    return OffsetPullback(composed)


def inner(cotangent: Tensor, values: Tensor) -> Tensor:
    """`g . y` of every image, `(B,)` in full precision; `values` broadcast to the cotangent."""
    exact = "float64" if "float64" in str(cotangent.dtype) else "float32"
    products = ops.cast(cotangent, exact) * ops.cast(values, exact)
    return ops.sum(products, axis=tuple(range(1, len(cotangent.shape))))
