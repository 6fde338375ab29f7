"""Pooling of windows: means, which are linear, and maxima, whose choice is held constant."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from coda_keras import backend
from coda_keras.backend.types import Tensor
from coda_keras.layers.dynamic_linear import DynamicLinear, Pullback, ReceptiveField
from coda_keras.layers.windows import (
    MAX_STRIDES,
    fold_equal,
    fold_patches,
    output_size,
    unfold,
    zero_pad,
)
from coda_keras.utils.arguments import positive_int
from coda_keras.utils.registration import PACKAGE


class _Pooling2D(DynamicLinear):
    """Windows of `(pool_size, pool_size)`, with `(pool_size - 1) // 2` positions of padding."""

    # Of `pool_size`.
    largest = MAX_STRIDES

    def __init__(self, pool_size: int, strides: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pool_size = positive_int("pool_size", pool_size, self.largest)
        strides = self.pool_size if strides is None else strides
        self.strides = positive_int("strides", strides, MAX_STRIDES)
        self.input_spec = keras.layers.InputSpec(ndim=4)

    @property
    def receptive_field(self) -> ReceptiveField:
        return ReceptiveField(self.pool_size, self.strides, -((self.pool_size - 1) // 2))

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        sizes = (output_size(n, self.pool_size, self.strides) for n in input_shape[1:3])
        return (input_shape[0], *sizes, input_shape[3])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "pool_size": self.pool_size, "strides": self.strides}


@keras.saving.register_keras_serializable(PACKAGE)
class AveragePooling2D(_Pooling2D):
    """Means of windows, a linear layer.

    Inputs are padded by `(pool_size - 1) // 2` zeros on each side, which count in the means, as in
    `torch.nn.AvgPool2d`.

    Args:
        pool_size: int, height and width of a window, at most 512.
        strides: int, at most 512; None for `pool_size`.
        **kwargs: `name`, `dtype`, ... of `keras.layers.Layer`.

    Input shape:
        `(B, H, W, C)`.

    Output shape:
        `(B, h, w, C)` with `h = (H + 2 ((k - 1) // 2) - k) // strides + 1`.
    """

    def linearize(self, inputs: Tensor) -> tuple[Tensor, Pullback]:
        inputs = self.prepare(inputs)
        height, width = ops.shape(inputs)[1:3]
        size = self.pool_size

        def pullback(cotangent):
            shares = ops.cast(cotangent, self.compute_dtype) / size**2
            return fold_equal(shares, size, self.strides, height, width)

        padded = zero_pad(inputs, size)
        outputs = ops.average_pool(padded, size, self.strides, "valid", "channels_last")
        return outputs, pullback


@keras.saving.register_keras_serializable(PACKAGE)
class GlobalAveragePooling2D(DynamicLinear):
    """Means over all positions, a linear layer.

    Input shape:
        `(B, H, W, C)`.

    Output shape:
        `(B, 1, 1, C)`.
    """

    # Named, so that arguments of Keras are known.
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)

    def linearize(self, inputs: Tensor) -> tuple[Tensor, Pullback]:
        inputs = self.prepare(inputs)
        shape = ops.shape(inputs)

        def pullback(cotangent):
            count = ops.cast(shape[1] * shape[2], self.compute_dtype)
            return ops.broadcast_to(ops.cast(cotangent, self.compute_dtype) / count, shape)

        return ops.mean(inputs, axis=(1, 2), keepdims=True), pullback

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        return (input_shape[0], 1, 1, input_shape[-1])


@keras.saving.register_keras_serializable(PACKAGE)
class MaxPooling2D(_Pooling2D):
    """Maxima of windows, channel by channel; where the largest value is, is held constant.

    The matrix has a 1 for the position that was chosen, the first one among equals, and 0
    elsewhere. Inputs are padded by `(pool_size - 1) // 2` positions on each side, which are never
    chosen.

    Args:
        pool_size: int, height and width of a window, at most 64.
        strides: int, at most 512; None for `pool_size`.
        **kwargs: `name`, `dtype`, ... of `keras.layers.Layer`.

    Input shape:
        `(B, H, W, C)`.

    Output shape:
        `(B, h, w, C)` with `h = (H + 2 ((k - 1) // 2) - k) // strides + 1`.
    """

    # The positions of a window are compared one after the other.
    largest = 64

    def linearize(self, inputs: Tensor) -> tuple[Tensor, Pullback]:
        inputs = self.prepare(inputs)
        height, width, channels = ops.shape(inputs)[1:]
        size = self.pool_size
        patches = unfold(inputs, size, self.strides, value=-np.inf)
        shape = ops.shape(patches)
        patches = ops.reshape(patches, (*shape[:3], size**2, channels))
        chosen = backend.argmax(patches, axis=-2)

        def pullback(cotangent):
            # One-hot along the positions of a window.
            here = chosen[..., None, :] == ops.arange(size**2, dtype=chosen.dtype)[:, None]
            values = ops.cast(cotangent, self.compute_dtype)[..., None, :]
            spread = ops.reshape(ops.where(here, values, 0), shape)
            return fold_patches(spread, size, self.strides, height, width)

        return ops.max(patches, axis=-2), pullback
