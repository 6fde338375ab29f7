"""Norm-bounding rescaling functions g of a DAU (eq. 2 and 3).

Both have the form `g(u) = alpha(||u||) u` with `||g(u)|| <= 1`. Only the factor
`alpha` is computed here, from the squared norm, because neither form of the layer
needs the rescaled vectors themselves.
"""

from collections.abc import Callable

from keras import ops

from coda_keras.backend.types import Tensor
from coda_keras.utils.arguments import one_of

# Squared norms up to this value count as zero: `sqrt` and `rsqrt` have an infinite slope
# at 0, and alpha times the (equally vanishing) dot product would not be finite.
_ZERO = 1e-20


def l2(squared_norm: Tensor) -> Tensor:
    """`alpha = 1 / ||u||`, and 0 for a vanishing vector (L2, eq. 2)."""
    is_zero = squared_norm <= _ZERO
    alpha = ops.rsqrt(ops.where(is_zero, 1.0, squared_norm))
    return ops.where(is_zero, 0.0, alpha)


def squash(squared_norm: Tensor) -> Tensor:
    """`alpha = ||u|| / (1 + ||u||^2)`, and 0 for a vanishing vector (SQ, eq. 3)."""
    is_zero = squared_norm <= _ZERO
    safe = ops.where(is_zero, 1.0, squared_norm)
    return ops.where(is_zero, 0.0, ops.sqrt(safe) / (1.0 + safe))


RESCALES = {"l2": l2, "squash": squash}


def get(name: str) -> Callable[[Tensor], Tensor]:
    """Returns the rescaling factor function called `name`: `"l2"` or `"squash"`."""
    return RESCALES[one_of("rescale", name, sorted(RESCALES))]
