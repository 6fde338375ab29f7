"""The protocol that every layer of a dynamic linear network keeps.

A dynamic linear layer computes `y = W(x) x`. Its `linearize` applies the layer and returns, beside
the outputs, the transpose of the matrix that it applied, as a function:

    outputs, pullback = layer.linearize(inputs)
    cotangent_in = pullback(cotangent_out)        # W(x)^T g, with W(x) held constant

Pullbacks compose backwards, which gives rows of `W_{0->L}(x)` (eq. 7) and of the matrix
between any two layers. They consist of forward operations only, so explanations are
differentiable and run on every Keras backend and inside a SavedModel.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import keras
from keras import ops

from coda_keras.backend.types import Tensor
from coda_keras.layers.offset import Pullback, compose
from coda_keras.utils.registration import PACKAGE


class ReceptiveField(NamedTuple):
    """Which inputs an output depends on, along either axis of an image.

    Position o of the outputs sees the positions `o * stride + offset` to `o * stride + offset +
    size - 1` of the inputs; those outside the image are zero padding.

    Attributes:
        size: int, how many positions an output sees.
        stride: int, positions of the inputs from one output to the next.
        offset: int, the first position that output 0 sees; negative with padding.
    """

    size: int
    stride: int
    offset: int

    def then(self, following: "ReceptiveField") -> "ReceptiveField":
        """The field of two layers in turn: this one, then one with the field `following`.

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
    `linearize` of the same form works in a `CoDANet` too. Only a product with the input can be
    attributed to the input: a layer that adds a constant declares it by `with_offset`. A layer
    whose outputs have another shape than its inputs also implements `compute_output_shape`.

    Attributes:
        receptive_field: the `ReceptiveField` of the outputs: nothing outside it changes an
            output, so that methods such as occlusion may hide distant parts of an image in one
            evaluation. None, the default, means all of the input.

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
            `(outputs, pullback)`; `pullback` maps a cotangent of the outputs' shape to
            `W(inputs)^T cotangent`, of the inputs' shape, with `W(inputs)` held constant. A layer
            that adds a constant returns `with_offset(pullback, constant)` in its place.
        """
        raise NotImplementedError(
            f"{type(self).__name__} must implement `linearize(inputs)` and return "
            "`(outputs, pullback)`."
        )

    def call(self, inputs: Tensor) -> Tensor:
        outputs, _ = self.linearize(inputs)
        return outputs

    def prepare(self, inputs: Tensor) -> Tensor:
        """Returns `inputs` in the layer's compute dtype; builds the layer if it is not built."""
        inputs = ops.convert_to_tensor(inputs)
        if not self.built:
            self.build(inputs.shape)
        return ops.cast(inputs, self.compute_dtype)


@keras.saving.register_keras_serializable(PACKAGE)
class GlobalSumPooling2D(DynamicLinear):
    """Sums over all positions.

    Input shape:
        `(B, H, W, C)`.

    Output shape:
        `(B, C)`.
    """

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
    """Makes one patch of the whole input.

    A `DAUConv2D` with `kernel_size=1` after it is a layer of DAUs that see the whole image.

    Input shape:
        `(B, H, W, C)`.

    Output shape:
        `(B, 1, 1, H * W * C)`.
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
    """Divides by the temperature T (eq. 9). A higher T makes training align the weights more.

    Inputs and outputs have the same shape, of any rank.

    Args:
        temperature: positive number T.

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
    """The receptive field of `layers` applied in turn; None if one of them has none."""
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
        `(outputs, pullback)` of the whole sequence: `pullback` maps a cotangent of the shape of
        `outputs` to one of the shape of `inputs`.
    """
    pullbacks = []
    outputs = inputs
    for layer in layers:
        outputs, pullback = layer.linearize(outputs)
        pullbacks.append(pullback)
    return outputs, compose(pullbacks)
