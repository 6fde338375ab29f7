"""Integrated gradients (Sundararajan, Taly, Yan, 2017)."""

from typing import Any

import numpy as np

from coda_keras.attribution.input_x_gradient import InputXGradient
from coda_keras.utils.arguments import positive_int


class IntegratedGradients(InputXGradient):
    """`x * integral over a in [0, 1] of d logit_c / d x at a x`, summed over the channels.

    The baseline is zero: "no evidence" (six zeros) for a `CoDANet`, black for other models. The
    integral is taken by Gauss-Legendre quadrature, as by the authors, so that a map sums to
    `logit_c(x) - logit_c(0)` up to the quadrature's error.

    Args:
        steps: positive int, the number of quadrature nodes.
        **kwargs: `batch_size`, `progress` of `Attribution`.

    Raises:
        ValueError: if `steps` is no positive integer.
    """

    def __init__(self, steps: int = 20, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.steps = positive_int("steps", steps)

    def pair_maps(self, images: np.ndarray, class_ids: np.ndarray) -> np.ndarray:
        nodes, weights = np.polynomial.legendre.leggauss(self.steps)
        nodes, weights = (nodes + 1) / 2, weights / 2
        # Input times gradient at `a x` is `a` times what is integrated.
        parts = (
            weight / node * self.run_on_device(np.float32(node) * images, class_ids)
            for node, weight in zip(nodes, weights)
        )
        return np.asarray(sum(parts))
