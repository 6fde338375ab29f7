"""Normalisations whose scale is held constant, as B-cos networks have them.

What is subtracted must be linear in the input and nothing may be added: a batch's mean is a
constant at inference, and so is β. The mean over an image's own values is a linear map of these.
"""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from coda_keras.backend.types import Tensor
from coda_keras.layers.dynamic_linear import POINTWISE, DynamicLinear, Pullback, ReceptiveField
from coda_keras.utils.registration import PACKAGE


class _Normalization(DynamicLinear):
    """With a scale γ for every channel, and no β."""

    def __init__(self, epsilon: float = 1e-5, scale: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not 0 < epsilon < 1:
            raise ValueError(f"`epsilon` must be in (0, 1). Received: epsilon={epsilon!r}.")
        self.epsilon = float(epsilon)
        self.scale = scale

    def build(self, input_shape: Sequence[int | None]) -> None:
        shape = (input_shape[-1],)
        add = self.add_weight
        self.gamma = add(name="gamma", shape=shape, initializer="ones") if self.scale else None
        self.built = True

    def _by_gamma(self, values):
        return values if self.gamma is None else values * ops.cast(self.gamma, values.dtype)

    @property
    def _exact_dtype(self):
        return "float64" if self.compute_dtype == "float64" else "float32"

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "epsilon": self.epsilon, "scale": self.scale}


@keras.saving.register_keras_serializable(PACKAGE)
class DynamicBatchNormalization(_Normalization):
    """Batch normalisation that subtracts and adds nothing: `γ x / sqrt(var + epsilon)`.

    The variance is the centred one of every channel. In training it is that of the batch, and
    moves `moving_variance`, which `linearize` and inference take. A `CoDANet` with `regularisation`
    or a `map_teacher` trains by `linearize`, and so leaves `moving_variance` as it is. It is
    `BatchNormUncentered2d` without bias of the second version of the B-cos authors' code.

    Args:
        momentum: number in [0, 1), what is kept of `moving_variance` at every step.
        epsilon: positive number below 1.
        scale: bool, whether there is a γ, one for every channel.
        **kwargs: `name`, `dtype`, ... of `keras.layers.Layer`.

    Inputs `(B, ..., C)` and outputs have the same shape.

    Raises:
        ValueError: if an argument is out of range.
    """

    def __init__(
        self, momentum: float = 0.9, epsilon: float = 1e-5, scale: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(epsilon, scale, **kwargs)
        if not 0 <= momentum < 1:
            raise ValueError(f"`momentum` must be in [0, 1). Received: momentum={momentum!r}.")
        self.momentum = float(momentum)

    @property
    def receptive_field(self) -> ReceptiveField:
        return POINTWISE

    def build(self, input_shape: Sequence[int | None]) -> None:
        super().build(input_shape)
        self.moving_variance = self.add_weight(
            name="moving_variance",
            shape=(input_shape[-1],),
            initializer="ones",
            trainable=False,
            autocast=False,
        )

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        if not training or not self.trainable:
            return self.linearize(inputs)[0]
        axes = tuple(range(len(inputs.shape) - 1))
        variance = ops.var(ops.cast(inputs, self._exact_dtype), axis=axes)
        moved = self.momentum * self.moving_variance + (1 - self.momentum) * variance
        self.moving_variance.assign(ops.cast(moved, self.moving_variance.dtype))
        return self._by(variance, inputs)

    def linearize(self, inputs: Tensor) -> tuple[Tensor, Pullback]:
        inputs = self.prepare(inputs)

        def scale(values):
            return self._by(self.moving_variance, ops.cast(values, self.compute_dtype))

        return scale(inputs), scale

    def _by(self, variance, values):
        inverse = ops.rsqrt(ops.cast(variance, self._exact_dtype) + self.epsilon)
        return self._by_gamma(values * ops.cast(inverse, values.dtype))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "momentum": self.momentum}


@keras.saving.register_keras_serializable(PACKAGE)
class DynamicLayerNormalization(_Normalization):
    """Layer normalisation without β: `γ (x - mean) / sqrt(var + epsilon)`.

    Subtracting the mean is a linear map; the factor `1 / sqrt(var + epsilon)` is held constant. It
    is `DetachableLayerNorm` without bias of the second version of the B-cos authors' code.

    Args:
        axis: int, or a tuple of ints, the axes of mean and variance: -1 for the channels of every
            position, `(1, 2, 3)` for all values of a feature map.
        epsilon: positive number below 1.
        center: bool, whether the mean is subtracted.
        scale: bool, whether there is a γ, one for every channel.
        **kwargs: `name`, `dtype`, ... of `keras.layers.Layer`.

    Inputs `(B, ..., C)` and outputs have the same shape.

    Raises:
        ValueError: if an argument is out of range, or an axis is that of the batch.
    """

    def __init__(
        self,
        axis: int | Sequence[int] = -1,
        epsilon: float = 1e-5,
        center: bool = True,
        scale: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(epsilon, scale, **kwargs)
        self.axis = axis if isinstance(axis, int) else tuple(axis)
        self.center = center

    @property
    def receptive_field(self) -> ReceptiveField | None:
        return POINTWISE if self.axis == -1 else None

    def build(self, input_shape: Sequence[int | None]) -> None:
        rank = len(input_shape)
        axes = (self.axis,) if isinstance(self.axis, int) else self.axis
        if any(not -rank < axis < rank or axis == 0 for axis in axes):
            raise ValueError(
                f"`axis` must be axes of the input other than that of the batch, 0. Received: "
                f"axis={self.axis!r} and inputs of shape {tuple(input_shape)}."
            )
        super().build(input_shape)

    def linearize(self, inputs: Tensor) -> tuple[Tensor, Pullback]:
        inputs = self.prepare(inputs)
        variance = ops.var(ops.cast(inputs, self._exact_dtype), axis=self.axis, keepdims=True)
        inverse = ops.cast(ops.rsqrt(variance + self.epsilon), self.compute_dtype)

        def pullback(cotangent):
            cotangent = ops.cast(cotangent, self.compute_dtype)
            return self._centred(self._by_gamma(cotangent) * inverse)

        return self._by_gamma(self._centred(inputs) * inverse), pullback

    def _centred(self, values):
        if not self.center:
            return values
        return values - ops.mean(values, axis=self.axis, keepdims=True)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "axis": self.axis, "center": self.center}
