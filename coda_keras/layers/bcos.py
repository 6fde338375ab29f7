"""B-cos transforms (Boehle, Fritz and Schiele, "B-cos Networks", CVPR 2022 and PAMI 2024).

A unit with a weight vector w of norm 1 computes, for an input p (eq. 3 and 10 there),

    o = |cos(p, w)|^(B - 1) w . p        so W(x) has the rows |cos(p, w)|^(B - 1) w

With B > 1 it reaches the largest output, ||p||, only for inputs that are aligned with w. The terms
that keep quotients finite are those of the second version of its authors' code (PyPI `bcos`).
"""

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from coda_keras.backend.types import Tensor
from coda_keras.layers.activation import choose
from coda_keras.layers.dau import Initializer, Regularizer
from coda_keras.layers.dynamic_linear import POINTWISE, DynamicLinear, Pullback, ReceptiveField
from coda_keras.layers.rescale import l2
from coda_keras.utils.arguments import positive_int
from coda_keras.utils.registration import PACKAGE


class Bcos(DynamicLinear):
    """What both layers share: arguments, weight vectors of norm 1, and the factor."""

    def __init__(
        self,
        b: float = 2.0,
        max_out: int = 1,
        kernel_initializer: Initializer = None,
        kernel_regularizer: Regularizer = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not 1 <= b < math.inf:
            raise ValueError(f"`b` must be a number of at least 1. Received: b={b!r}.")
        self.b = float(b)
        self.max_out = positive_int("max_out", max_out)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)

    def _add_kernel(self, shape):
        limit = 1.0 / math.sqrt(math.prod(shape[:-1]))
        self.kernel = self.add_weight(
            name="kernel",
            shape=shape,
            initializer=self.kernel_initializer or keras.initializers.RandomUniform(-limit, limit),
            regularizer=self.kernel_regularizer,
            # The norm is computed from the full-precision values.
            autocast=False,
        )

    def _unit_kernel(self):
        """Weight vectors of norm 1; those that vanish stay zero."""
        squared = ops.sum(ops.square(self.kernel), tuple(range(len(self.kernel.shape) - 1)))
        return ops.cast(self.kernel * l2(squared), self.compute_dtype)

    def _respond(self, products, inputs):
        """The outputs from `w . p` of all weight vectors, and a function of their cotangent.

        It scales the cotangent by |cos|^(B - 1) and gives it to the weight vectors chosen.
        """
        spread = None
        if self.max_out > 1:
            products, spread = choose(products, self.max_out)
        factor = 1
        if self.b > 1:
            norms = self._norms(ops.cast(inputs, self._norm_dtype))
            cosines = ops.absolute(ops.cast(products, norms.dtype)) / norms
            factor = cosines if self.b == 2 else ops.power(cosines + 1e-6, self.b - 1)
            factor = ops.cast(factor, self.compute_dtype)

        def scaled(cotangent):
            cotangent = factor * ops.cast(cotangent, self.compute_dtype)
            return cotangent if spread is None else spread(cotangent)

        return factor * products, scaled

    def _norms(self, exact):
        raise NotImplementedError

    @property
    def _norm_dtype(self):
        return "float64" if self.compute_dtype == "float64" else "float32"

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "b": self.b,
            "max_out": self.max_out,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
        }


@keras.saving.register_keras_serializable(PACKAGE)
class BcosDense(Bcos):
    """B-cos units of the last axis, as for the tokens of a transformer.

    As `BcosConv2D`, but for ||p|| = sqrt(sum p^2) + 1e-12.

    Args:
        units: int.
        b, max_out, kernel_initializer, kernel_regularizer, **kwargs: as for `BcosConv2D`.

    Input shape:
        `(B, ..., C)`.

    Output shape:
        `(B, ..., units)`.

    Raises:
        ValueError: if an argument is out of range.
    """

    def __init__(
        self,
        units: int,
        b: float = 2.0,
        max_out: int = 1,
        kernel_initializer: Initializer = None,
        kernel_regularizer: Regularizer = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(b, max_out, kernel_initializer, kernel_regularizer, **kwargs)
        self.units = positive_int("units", units)

    def build(self, input_shape: Sequence[int | None]) -> None:
        self._add_kernel((input_shape[-1], self.units * self.max_out))
        self.built = True

    @property
    def receptive_field(self) -> ReceptiveField:
        return POINTWISE

    def linearize(self, inputs: Tensor) -> tuple[Tensor, Pullback]:
        inputs, kernel = self.prepare(inputs), self._unit_kernel()
        outputs, spread = self._respond(ops.tensordot(inputs, kernel, 1), inputs)
        return outputs, lambda cotangent: ops.tensordot(spread(cotangent), ops.transpose(kernel), 1)

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        return (*input_shape[:-1], self.units)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units}

    def _norms(self, exact):
        squares = ops.sum(ops.square(exact), axis=-1, keepdims=True)
        # The slope of a root at 0 is infinite.
        is_zero = squares == 0
        return ops.where(is_zero, 0.0, ops.sqrt(ops.where(is_zero, 1.0, squares))) + 1e-12
