"""Self-attention whose matrix is held constant."""

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from coda_keras.backend.types import Tensor
from coda_keras.layers.dau import Initializer
from coda_keras.layers.dynamic_linear import DynamicLinear, Pullback
from coda_keras.utils.arguments import positive_int
from coda_keras.utils.registration import PACKAGE


@keras.saving.register_keras_serializable(PACKAGE)
class DynamicSelfAttention(DynamicLinear):
    """`A(x) x V` for every head, with `A(x) = softmax(x Q (x K)^T / sqrt(dimensions))`.

    Values are a linear map of the input and A mixes positions, so that the layer is dynamic linear
    with A held constant (Boehle et al., "B-cos Alignment for Inherently Interpretable CNNs and
    Vision Transformers", PAMI 2024, Section 3.4). There is no bias, normalisation or projection of
    the outputs: `Chain` with `DynamicLayerNormalization` before and `BcosDense` after it is the
    attention of a B-cos transformer.

    Args:
        heads: int.
        dimensions: int, entries of queries, keys and values of a head.
        kernel_initializer: initialiser of Q, K and V; None for uniform in `±1/sqrt(C)`, as that of
            `torch.nn.Linear`.
        **kwargs: `name`, `dtype`, ... of `keras.layers.Layer`.

    Input shape:
        `(B, ..., C)`; positions are all axes but the first and the last.

    Output shape:
        `(B, ..., heads * dimensions)`.

    Raises:
        ValueError: if an argument is out of range or there is no axis of positions.
    """

    def __init__(
        self,
        heads: int,
        dimensions: int,
        kernel_initializer: Initializer = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.heads = positive_int("heads", heads)
        self.dimensions = positive_int("dimensions", dimensions)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.input_spec = keras.layers.InputSpec(min_ndim=3)

    def build(self, input_shape: Sequence[Any]) -> None:
        shape = (input_shape[-1], self.heads * self.dimensions)
        limit = 1.0 / math.sqrt(shape[0])
        initializer = self.kernel_initializer or keras.initializers.RandomUniform(-limit, limit)
        self.query, self.key, self.value = (
            self.add_weight(name=name, shape=shape, initializer=initializer)
            for name in ("query", "key", "value")
        )
        self.built = True

    def linearize(self, inputs: Tensor) -> tuple[Tensor, Pullback]:
        inputs = self.prepare(inputs)
        shape = ops.shape(inputs)
        matrix = self._matrix(inputs)
        value = ops.cast(self.value, self.compute_dtype)
        outputs = self._together(ops.matmul(matrix, self._heads(inputs, value)))

        def pullback(cotangent):
            cotangent = self._apart(ops.cast(cotangent, self.compute_dtype))
            mixed = ops.matmul(ops.swapaxes(matrix, -1, -2), cotangent)
            return ops.reshape(ops.tensordot(self._together(mixed), ops.transpose(value), 1), shape)

        return ops.reshape(outputs, (*shape[:-1], self.heads * self.dimensions)), pullback

    def attention(self, inputs: Tensor) -> Tensor:
        """Returns A(x), to look at: how much every position takes of every other.

        Args:
            inputs: `(B, ..., C)`, with n positions.

        Returns:
            `(B, heads, n, n)`; rows sum to 1.
        """
        return self._matrix(self.prepare(inputs))

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        return (*input_shape[:-1], self.heads * self.dimensions)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "heads": self.heads,
            "dimensions": self.dimensions,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }

    def _matrix(self, inputs):
        query, key = (
            self._heads(inputs, ops.cast(kernel, self.compute_dtype))
            for kernel in (self.query, self.key)
        )
        products = ops.matmul(query, ops.swapaxes(key, -1, -2)) / math.sqrt(self.dimensions)
        return ops.softmax(products, axis=-1)

    def _heads(self, inputs, kernel):
        return self._apart(ops.tensordot(inputs, kernel, 1))

    def _apart(self, values):
        """`(B, ..., heads * dimensions)` to `(B, heads, n, dimensions)`."""
        batch = ops.shape(values)[0]
        apart = ops.reshape(values, (batch, -1, self.heads, self.dimensions))
        return ops.swapaxes(apart, 1, 2)

    def _together(self, values):
        """`(B, heads, n, dimensions)` to `(B, n, heads * dimensions)`."""
        batch = ops.shape(values)[0]
        together = ops.swapaxes(values, 1, 2)
        return ops.reshape(together, (batch, -1, self.heads * self.dimensions))
