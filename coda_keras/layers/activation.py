"""Activations that pass a value on or do not: a matrix of zeros and ones, held constant."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from coda_keras import backend
from coda_keras.backend.types import Tensor
from coda_keras.layers.dynamic_linear import POINTWISE, DynamicLinear, Pullback, ReceptiveField
from coda_keras.utils.arguments import positive_int
from coda_keras.utils.registration import PACKAGE


@keras.saving.register_keras_serializable(PACKAGE)
class ReLU(DynamicLinear):
    """`max(x, 0)`: a diagonal matrix with 1 for positive inputs and 0 for the others.

    A net of linear layers without bias, ReLUs and pooling is dynamic linear by it, and its
    contributions are Input x Gradient (Hesse, Schaub-Meyer and Roth 2021, Section 3).

    Inputs and outputs have the same shape, of any rank.
    """

    @property
    def receptive_field(self) -> ReceptiveField:
        return POINTWISE

    def linearize(self, inputs: Tensor) -> tuple[Tensor, Pullback]:
        inputs = self.prepare(inputs)
        positive = inputs > 0

        def mask(values):
            return ops.where(positive, ops.cast(values, self.compute_dtype), 0)

        return mask(inputs), mask

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        return tuple(input_shape)


@keras.saving.register_keras_serializable(PACKAGE)
class MaxOut(DynamicLinear):
    """The largest of every few channels; which one that is, is held constant.

    Output channel o is the maximum of the input channels `o * pieces` to `(o + 1) * pieces - 1`;
    the first one among equals is chosen.

    Args:
        pieces: int, how many channels become one.
        **kwargs: `name`, `dtype`, ... of `keras.layers.Layer`.

    Input shape:
        `(B, ..., C)`; C is a multiple of `pieces`.

    Output shape:
        `(B, ..., C // pieces)`.

    Raises:
        ValueError: if `pieces` does not divide the number of channels.
    """

    def __init__(self, pieces: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pieces = positive_int("pieces", pieces)

    @property
    def receptive_field(self) -> ReceptiveField:
        return POINTWISE

    def build(self, input_shape: Sequence[int | None]) -> None:
        self.compute_output_shape(input_shape)
        self.built = True

    def linearize(self, inputs: Tensor) -> tuple[Tensor, Pullback]:
        outputs, spread = choose(self.prepare(inputs), self.pieces)

        def pullback(cotangent):
            return spread(ops.cast(cotangent, self.compute_dtype))

        return outputs, pullback

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        channels = input_shape[-1]
        if channels is None or channels % self.pieces:
            raise ValueError(
                f"The number of channels must be a multiple of pieces={self.pieces}. "
                f"Received inputs of shape {tuple(input_shape)}."
            )
        return (*input_shape[:-1], channels // self.pieces)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "pieces": self.pieces}


def choose(inputs: Tensor, pieces: int) -> tuple[Tensor, Pullback]:
    """The largest of every `pieces` channels, and the transpose of what picks it."""
    shape = ops.shape(inputs)
    grouped = ops.reshape(inputs, (*shape[:-1], shape[-1] // pieces, pieces))
    chosen = backend.argmax(grouped, axis=-1)

    def spread(cotangent):
        here = chosen[..., None] == ops.arange(pieces, dtype=chosen.dtype)
        return ops.reshape(ops.where(here, cotangent[..., None], 0), shape)

    return ops.max(grouped, axis=-1), spread
