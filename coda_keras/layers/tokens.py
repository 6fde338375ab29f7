"""From an image to the tokens of a transformer, which stay on a grid: patches, and their places."""

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from coda_keras.backend.types import Tensor
from coda_keras.layers.dynamic_linear import POINTWISE, DynamicLinear, Pullback, ReceptiveField
from coda_keras.layers.offset import with_offset
from coda_keras.utils.arguments import positive_int
from coda_keras.utils.registration import PACKAGE


@keras.saving.register_keras_serializable(PACKAGE)
class Patches2D(DynamicLinear):
    """Makes a channel of every value of a patch; patches do not overlap. A permutation.

    Args:
        size: int, height and width of a patch.
        **kwargs: `name`, `dtype`, ... of `keras.layers.Layer`.

    Input shape:
        `(B, H, W, C)`, H and W multiples of `size`.

    Output shape:
        `(B, H / size, W / size, size^2 C)`; rows of a patch first, then columns and channels.

    Raises:
        ValueError: if `size` is not a positive integer, or the patches do not fill the input.

    Example:

    >>> ops.shape(Patches2D(4)(np.zeros((2, 8, 12, 6), "float32")))
    (2, 2, 3, 96)
    """

    def __init__(self, size: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.size = positive_int("size", size)
        self.input_spec = keras.layers.InputSpec(ndim=4)

    @property
    def receptive_field(self) -> ReceptiveField:
        return ReceptiveField(self.size, self.size, 0)

    def linearize(self, inputs: Tensor) -> tuple[Tensor, Pullback]:
        inputs = self.prepare(inputs)
        self.compute_output_shape(inputs.shape)
        shape, size = ops.shape(inputs), self.size
        rows, columns, channels = shape[1] // size, shape[2] // size, shape[3]
        order = (0, 1, 3, 2, 4, 5)

        def pullback(cotangent):
            apart = (-1, rows, columns, size, size, channels)
            return ops.reshape(ops.transpose(ops.reshape(cotangent, apart), order), shape)

        apart = ops.reshape(inputs, (-1, rows, size, columns, size, channels))
        depth = size**2 * channels
        return ops.reshape(ops.transpose(apart, order), (-1, rows, columns, depth)), pullback

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        batch, *sides, channels = input_shape
        if any(side is not None and side % self.size for side in sides):
            raise ValueError(
                f"Expected inputs whose height and width are multiples of size={self.size}. "
                f"Received shape {tuple(input_shape)}."
            )
        rows, columns = (None if side is None else side // self.size for side in sides)
        return (batch, rows, columns, None if channels is None else self.size**2 * channels)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "size": self.size}


@keras.saving.register_keras_serializable(PACKAGE)
class SinCosPositions2D(DynamicLinear):
    """Adds sines and cosines of every position's place, a constant, which is kept as an offset.

    With w_i = temperature^(-i / (C / 4 - 1)) for i = 0 to C / 4 - 1, column x and row y get

        sin(x w), cos(x w), sin(y w), cos(y w)

    (Beyer, Zhai and Kolesnikov, "Better plain ViT baselines for ImageNet-1k", 2022).

    Args:
        temperature: number above 1.
        **kwargs: `name`, `dtype`, ... of `keras.layers.Layer`.

    Inputs `(B, H, W, C)`, C a multiple of 4, and outputs have the same shape.

    Raises:
        ValueError: if `temperature` or the number of channels is another one.
    """

    def __init__(self, temperature: float = 1e4, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not 1 < temperature < math.inf:
            raise ValueError(
                f"`temperature` must be a number above 1. Received: temperature={temperature!r}."
            )
        self.temperature = float(temperature)
        self.input_spec = keras.layers.InputSpec(ndim=4)

    @property
    def receptive_field(self) -> ReceptiveField:
        return POINTWISE

    def build(self, input_shape: Sequence[int | None]) -> None:
        channels = input_shape[-1]
        if channels is None or channels % 4:
            raise ValueError(
                "`SinCosPositions2D` expects a multiple of 4 channels. Received shape "
                f"{tuple(input_shape)}."
            )
        self.built = True

    def linearize(self, inputs: Tensor) -> tuple[Tensor, Pullback]:
        inputs = self.prepare(inputs)
        places = ops.cast(self._places(*ops.shape(inputs)[1:]), self.compute_dtype)
        return inputs + places, with_offset(lambda cotangent: cotangent, places)

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "temperature": self.temperature}

    def _places(self, rows, columns, channels):
        """`(rows, columns, channels)`."""
        exact = "float64" if self.compute_dtype == "float64" else "float32"
        count = channels // 4
        frequencies = self.temperature ** -(ops.arange(count, dtype=exact) / max(1, count - 1))
        x, y = (ops.arange(n, dtype=exact)[:, None] * frequencies for n in (columns, rows))
        shape = (rows, columns, 2 * count)
        by_column = ops.concatenate([ops.sin(x), ops.cos(x)], axis=-1)[None]
        by_row = ops.concatenate([ops.sin(y), ops.cos(y)], axis=-1)[:, None]
        places = [ops.broadcast_to(part, shape) for part in (by_column, by_row)]
        return ops.concatenate(places, axis=-1)
