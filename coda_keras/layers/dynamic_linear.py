"""The protocol that every layer of a dynamic linear network keeps.

A dynamic linear layer computes `y = W(x) x`. Its `linearize` applies the layer and hands out
the transpose of the matrix it has just applied:

    outputs, pullback = layer.linearize(inputs)
    cotangent_in = pullback(cotangent_out)        # W(x)^T g, with W(x) held constant

Pullbacks compose backwards, which gives rows of `W_{0->L}(x)` (eq. 7) and of the matrix
between any two layers. They consist of forward operations only, so explanations are
differentiable and run on every Keras backend and inside a SavedModel.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import keras
from keras import ops

from coda_keras.backend.types import Tensor
from coda_keras.utils.registration import PACKAGE

Pullback = Callable[[Tensor], Tensor]


class ReceptiveField(NamedTuple):
    """Which inputs an output depends on, along either axis of an image.

    Position o of the outputs sees the positions `o * stride + offset` to `o * stride + offset +
    size - 1` of the inputs; those outside of the image are zero padding.
    """

    size: int
    stride: int
    offset: int

    def then(self, following: "ReceptiveField") -> "ReceptiveField":
        """That of a layer with the field `following` applied to outputs that have this one.

        >>> ReceptiveField(3, 2, -1).then(ReceptiveField(5, 1, -2))
        ReceptiveField(size=11, stride=2, offset=-5)
        """
        return ReceptiveField(
            self.size + (following.size - 1) * self.stride,
            self.stride * following.stride,
            self.offset + following.offset * self.stride,
        )


POINTWISE = ReceptiveField(size=1, stride=1, offset=0)


class DynamicLinear(keras.layers.Layer):
    """Base class of layers that compute `y = W(x) x`.

    Subclasses implement `linearize`; `call` follows from it. Any Keras layer with a
    `linearize` of the same form works in a `CoDANet` too. Layers must not add a bias:
    whatever is not a product with the input cannot be attributed to it.

    Attributes:
        receptive_field: the `ReceptiveField` of the outputs: nothing outside of it changes an
            output. Methods such as occlusion then measure distant parts of an image at once.
            None, the default, means all of the input.

    Example:

    >>> @keras.saving.register_keras_serializable("my_project")
    ... class SelfGate(DynamicLinear):
    ...     def linearize(self, inputs):
    ...         inputs = self.prepare(inputs)
    ...         gate = ops.sigmoid(inputs)
    ...         return gate * inputs, lambda cotangent: gate * cotangent
    >>> ops.shape(SelfGate()(np.zeros((1, 4, 4, 2))))
    (1, 4, 4, 2)
    """

    @property
    def receptive_field(self) -> ReceptiveField | None:
        return None

    def linearize(self, inputs: Tensor) -> tuple[Tensor, Pullback]:
        """Applies the layer.

        Args:
            inputs: tensor `(B, ...)`.

        Returns:
            `(outputs, pullback)`; `pullback` takes a cotangent of the outputs' shape to
            `W(inputs)^T cotangent`, of the inputs' shape.
        """
        raise NotImplementedError(
            f"{type(self).__name__} must implement `linearize(inputs)` and return "
            "`(outputs, pullback)`."
        )

    def call(self, inputs: Tensor) -> Tensor:
        outputs, _ = self.linearize(inputs)
        return outputs

    def prepare(self, inputs: Tensor) -> Tensor:
        """Builds the layer if need be and casts to its compute dtype, as `__call__` would."""
        inputs = ops.convert_to_tensor(inputs)
        if not self.built:
            self.build(inputs.shape)
        return ops.cast(inputs, self.compute_dtype)


@keras.saving.register_keras_serializable(PACKAGE)
class GlobalSumPooling2D(DynamicLinear):
    """Sums over all positions: `(B, H, W, C)` to `(B, C)`."""

    def linearize(self, inputs: Tensor) -> tuple[Tensor, Pullback]:
        inputs = self.prepare(inputs)
        shape = ops.shape(inputs)

        def pullback(cotangent):
            return ops.broadcast_to(cotangent[:, None, None, :], shape)

        return ops.sum(inputs, axis=(1, 2)), pullback

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        return (input_shape[0], input_shape[-1])


@keras.saving.register_keras_serializable(PACKAGE)
class GlobalPatch2D(DynamicLinear):
    """Takes the whole input for one patch: `(B, H, W, C)` to `(B, 1, 1, H W C)`.

    A `DAUConv2D` with `kernel_size=1` on it is a layer of DAUs that see everything at once.
    """

    def linearize(self, inputs: Tensor) -> tuple[Tensor, Pullback]:
        inputs = self.prepare(inputs)
        shape = ops.shape(inputs)

        def pullback(cotangent):
            return ops.reshape(cotangent, shape)

        return ops.reshape(inputs, (shape[0], 1, 1, math.prod(shape[1:]))), pullback

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        height, width, channels = input_shape[1:]
        if height is None or width is None or channels is None:
            return (input_shape[0], 1, 1, None)
        return (input_shape[0], 1, 1, height * width * channels)


@keras.saving.register_keras_serializable(PACKAGE)
class TemperatureScaling(DynamicLinear):
    """Divides by the temperature T (eq. 9), which sets the alignment pressure.

    Args:
        temperature: positive number.

    Raises:
        ValueError: if `temperature` is not a positive number.
    """

    def __init__(self, temperature: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not 0 < temperature < math.inf:
            raise ValueError(
                f"`temperature` must be a positive number. Received: temperature={temperature!r}."
            )
        self.temperature = float(temperature)

    @property
    def receptive_field(self) -> ReceptiveField:
        return POINTWISE

    def linearize(self, inputs: Tensor) -> tuple[Tensor, Pullback]:
        def scale(values):
            return values / self.temperature

        return scale(self.prepare(inputs)), scale

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "temperature": self.temperature}


def receptive_field(layers: Iterable[Any]) -> ReceptiveField | None:
    """The receptive field of the outputs of `layers` in turn; None if one of them tells none."""
    field = POINTWISE
    for layer in layers:
        own = getattr(layer, "receptive_field", None)
        if own is None:
            return None
        field = field.then(own)
    return field


def linearize(layers: Iterable[Any], inputs: Tensor) -> tuple[Tensor, Pullback]:
    """Applies `layers` in turn and composes their pullbacks: `W_{l1->l2}` for a slice of layers.

    Args:
        layers: layers with a `linearize` method.
        inputs: input of the first of them.

    Returns:
        `(outputs, pullback)` of the whole sequence.
    """
    pullbacks = []
    outputs = inputs
    for layer in layers:
        outputs, pullback = layer.linearize(outputs)
        pullbacks.append(pullback)

    def composed(cotangent):
        for pullback in reversed(pullbacks):
            cotangent = pullback(cotangent)
        return cotangent

    return outputs, composed
