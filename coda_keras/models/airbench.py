"""A convolutional net that learns CIFAR-10 within minutes, to teach others (Jordan, 2024).

After github.com/KellerJordan/cifar10-airbench: a frozen convolution that whitens patches of 2x2
pixels, then three groups of two convolutions that begin as the identity.
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from coda_keras.backend.types import Tensor
from coda_keras.utils.registration import PACKAGE

# Of the channels of CIFAR-10's training images.
MEAN, DEVIATION = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
WHITENED = 2  # pixels a side of a patch
RIDGE = 5e-4  # added to the variances, so that directions without any are not blown up
# Rates below make sense for logits of this scale.
LOGIT_SCALE = 1 / 9


@keras.saving.register_keras_serializable(PACKAGE)
class Bias(keras.layers.Layer):
    """Adds a learned number to every channel."""

    def build(self, input_shape: Sequence[int | None]) -> None:
        self.bias = self.add_weight(shape=(input_shape[-1],), initializer="zeros", name="bias")

    def call(self, inputs: Tensor) -> Tensor:
        return inputs + self.bias


@keras.saving.register_keras_serializable(PACKAGE)
class PartialIdentity(keras.initializers.Initializer):
    """Kernels `(k, k, C, f)`, C up to f, whose first C filters hand a channel on; others random.

    Args:
        seed: int or `keras.random.SeedGenerator`; None for one of its own.
    """

    def __init__(self, seed: Any | None = None) -> None:
        # Uniform between -1 and 1 over the root of the inputs of a filter.
        self.noise = keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform", seed)

    def __call__(self, shape: Sequence[int], dtype: Any | None = None) -> Tensor:
        height, width, channels = shape[:3]
        replaced = np.zeros(shape, "float32")
        replaced[:, :, :, :channels] = 1.0
        identity = np.zeros(shape, "float32")
        for channel in range(channels):
            identity[height // 2, width // 2, channel, channel] = 1.0
        noise = self.noise(shape, dtype)
        return ops.where(replaced > 0, ops.convert_to_tensor(identity, noise.dtype), noise)

    def get_config(self) -> dict[str, Any]:
        return {"seed": self.noise.get_config()["seed"]}


def airbench(
    classes: int = 10,
    widths: tuple[int, int, int] = (64, 256, 256),
    image_size: int | tuple[int, int] = 32,
    momentum: float = 0.6,
) -> keras.Model:
    """Builds the net; `whiten` gives its first layer the weights that it keeps.

    Args:
        classes: int, number of classes.
        widths: filters of the three groups.
        image_size: int or `(height, width)` of the images, 32 or more.
        momentum: float in [0, 1), of the running mean and variance of batch normalisation.

    Returns:
        A functional `keras.Model` from RGB images `(B, H, W, 3)` in [0, 1] to logits
        `(B, classes)`, float32.

    Example:

    >>> airbench().count_params()
    1973944
    """
    height, width = image_size if isinstance(image_size, tuple) else (image_size,) * 2
    inputs = keras.Input((height, width, 3), name="images")
    variance = tuple(deviation**2 for deviation in DEVIATION)
    # In float32, since differences of pixels are blown up.
    outputs = layers.Normalization(
        mean=MEAN, variance=variance, dtype="float32", name="standardisation"
    )(inputs)
    whitening = layers.Conv2D(
        2 * 3 * WHITENED**2, WHITENED, use_bias=False, dtype="float32", name="whitening"
    )
    whitening.trainable = False
    outputs = layers.Activation("gelu")(Bias(name="whitening_bias")(whitening(outputs)))
    for index, width in enumerate(widths, start=1):
        outputs = _convolution(outputs, width, f"group{index}_first")
        outputs = _normalised(layers.MaxPooling2D(2)(outputs), momentum)
        outputs = _normalised(_convolution(outputs, width, f"group{index}_second"), momentum)
    outputs = layers.Flatten()(layers.MaxPooling2D(3)(outputs))
    outputs = layers.Dense(classes, use_bias=False, dtype="float32", name="head")(outputs)
    logits = layers.Rescaling(LOGIT_SCALE, dtype="float32", name="logits")(outputs)
    return keras.Model(inputs, logits, name="airbench")


def whiten(net: keras.Model, images: np.ndarray) -> None:
    """Sets the frozen layer: outputs of these images have unit variance and no correlation.

    Args:
        net: as `airbench` returns it.
        images: uint8 `(N, H, W, 3)`; a few thousand will do.
    """
    standardised = (images / np.float32(255.0) - MEAN) / DEVIATION
    windows = np.lib.stride_tricks.sliding_window_view(
        standardised, (WHITENED, WHITENED), axis=(1, 2)
    )
    # In the order of the kernel: rows, columns, channels.
    patches = windows.transpose(0, 1, 2, 4, 5, 3).reshape(-1, 3 * WHITENED**2)
    variances, directions = np.linalg.eigh(patches.T @ patches / len(patches))
    kernel = directions / np.sqrt(variances + RIDGE)
    kernel = np.concatenate([kernel, -kernel], axis=1)
    layer = net.get_layer("whitening")
    layer.set_weights([kernel.reshape(layer.kernel.shape).astype("float32")])


def _convolution(inputs, filters, name):
    initializer = PartialIdentity()
    convolve = layers.Conv2D(
        filters, 3, padding="same", use_bias=False, kernel_initializer=initializer, name=name
    )
    return convolve(inputs)


def _normalised(inputs, momentum):
    outputs = layers.BatchNormalization(momentum=momentum, epsilon=1e-12, scale=False)(inputs)
    return layers.Activation("gelu")(outputs)
