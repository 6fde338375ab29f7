"""Residual networks (He, Zhang, Ren, Sun, CVPR 2016): for CIFAR-10 (Section 4.2), ResNet-50."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers, ops

from coda_keras.backend.types import Tensor
from coda_keras.utils.registration import PACKAGE


@keras.saving.register_keras_serializable(PACKAGE)
class PaddedShortcut(keras.layers.Layer):
    """Shortcut without parameters (option A): every other position, new channels zero.

    Args:
        filters: int, number of output channels, at least that of the input.
        strides: int.
    """

    def __init__(self, filters: int, strides: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.filters = filters
        self.strides = strides

    def call(self, inputs: Tensor) -> Tensor:
        missing = self.filters - inputs.shape[-1]
        sampled = inputs[:, :: self.strides, :: self.strides]
        return ops.pad(sampled, ((0, 0), (0, 0), (0, 0), (0, missing)))

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        sizes = (None if n is None else -(-n // self.strides) for n in input_shape[1:3])
        return (input_shape[0], *sizes, self.filters)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "filters": self.filters, "strides": self.strides}


def resnet56(
    classes: int = 10, depth: int = 56, image_size: int | tuple[int, int] | None = 32
) -> keras.Model:
    """Builds the ResNet of the CIFAR-10 experiments: 6n + 2 layers, 0.85M parameters for n = 9.

    Three stages of n residual blocks with 16, 32 and 64 filters, global average pooling and a
    dense layer. The last activation before the pooling is the layer `"last_activation"`.

    Args:
        classes: int, number of classes.
        depth: int, 6n + 2.
        image_size: int or `(height, width)`; None for a model that takes images of any size, such
            as the grids of the localisation metric. See also `with_image_size`.

    Returns:
        A functional `keras.Model` from RGB images `(B, H, W, 3)` in [0, 1] to logits
        `(B, classes)`, float32.

    Raises:
        ValueError: if `depth` is not 6n + 2.

    Example:

    >>> import math
    >>> sum(math.prod(variable.shape) for variable in resnet56().trainable_variables)
    853018
    """
    blocks, rest = divmod(depth - 2, 6)
    if blocks < 1 or rest:
        raise ValueError(f"`depth` must be 6n + 2, such as 20 or 56. Received: depth={depth}.")
    inputs = _input(image_size)
    # Zero padding is then mid-grey, and values have the spread that the initial weights expect.
    outputs = layers.Rescaling(2.0, offset=-1.0, name="centring")(inputs)
    outputs = layers.Activation("relu", name="stem")(_convolution(outputs, 16))
    for stage, filters in enumerate((16, 32, 64), start=1):
        for block in range(1, blocks + 1):
            strides = 2 if stage > 1 and block == 1 else 1
            last = stage == 3 and block == blocks
            name = "last_activation" if last else f"stage{stage}_block{block}"
            outputs = _residual(outputs, filters, strides, name)
    outputs = layers.GlobalAveragePooling2D(name="pooling")(outputs)
    logits = layers.Dense(classes, kernel_initializer="he_normal", dtype="float32", name="logits")
    return keras.Model(inputs, logits(outputs), name=f"resnet{depth}")


def resnet50(classes: int = 1000, image_size: int | tuple[int, int] | None = 224) -> keras.Model:
    """Builds the ResNet-50 of the ImageNet experiments, as `keras.applications` has it.

    The last activation before the pooling is the layer `"conv5_block3_out"`.

    Args:
        classes: int, number of classes.
        image_size: int or `(height, width)`; None for a model that takes images of any size. See
            also `with_image_size`.

    Returns:
        A functional `keras.Model` from RGB images `(B, H, W, 3)` in [0, 1] to logits
        `(B, classes)`, float32.
    """
    inputs = _input(image_size)
    # The spread that the initial weights expect.
    centred = layers.Rescaling(2.0, offset=-1.0, name="centring")(inputs)
    body = keras.applications.ResNet50(include_top=False, weights=None, input_tensor=centred)
    outputs = layers.GlobalAveragePooling2D(name="pooling")(body.output)
    outputs = layers.Dense(classes, dtype="float32", name="logits")(outputs)
    return keras.Model(inputs, outputs, name="resnet50")


def with_image_size(model: keras.Model, image_size: int | tuple[int, int] | None) -> keras.Model:
    """Returns a functional model of the same layers, weights shared, for another image size.

    Args:
        model: a functional `keras.Model` whose layers run on any size.
        image_size: int or `(height, width)`; None for images of any size.

    Returns:
        A functional `keras.Model`.

    Example:

    >>> small = resnet56(depth=8, image_size=32)
    >>> ops.shape(with_image_size(small, None)(np.zeros((1, 96, 96, 3), "float32")))
    (1, 10)
    """
    return keras.models.clone_model(
        model, input_tensors=_input(image_size), clone_function=lambda layer: layer
    )


def _input(image_size):
    height, width = image_size if isinstance(image_size, (tuple, list)) else (image_size,) * 2
    return keras.Input((height, width, 3), name="images")


def _residual(inputs, filters, strides, name):
    shortcut = inputs
    if strides > 1 or inputs.shape[-1] != filters:
        shortcut = PaddedShortcut(filters, strides)(inputs)
    outputs = layers.Activation("relu")(_convolution(inputs, filters, strides))
    outputs = layers.Add()([_convolution(outputs, filters), shortcut])
    return layers.Activation("relu", name=name)(outputs)


def _convolution(inputs, filters, strides=1):
    # One zero on each side: "same" pads only one side at stride 2, so that the kernels would not
    # be centred on the positions that the shortcut keeps.
    padded = layers.ZeroPadding2D(1)(inputs)
    convolve = layers.Conv2D(filters, 3, strides, use_bias=False, kernel_initializer="he_normal")
    return layers.BatchNormalization()(convolve(padded))
