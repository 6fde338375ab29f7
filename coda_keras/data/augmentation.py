"""Augmentation of single images, on TensorFlow or by NumPy as the running backend trains.

The functions that these make take an image, uint8 `(H, W, 3)`, and what its random numbers are
drawn from: a seed of two integers on TensorFlow, elsewhere a `numpy.random.Generator`. What they
return depends on these alone.
"""

from types import ModuleType

from coda_keras import backend
from coda_keras.data.batches import Augment


def flip_and_crop(
    padding: int = 4, flip: bool = True, size: int | None = None, mode: str = "constant"
) -> Augment:
    """Random crop after padding, and a horizontal flip for every second image.

    Args:
        padding: int, pixels put on each side before the crop.
        flip: bool.
        size: int, pixels a side of the crop; None for those of the image.
        mode: `"constant"` for zeros around the image, `"reflect"` for its reflection.
    """
    return _framework().flip_and_crop(padding, flip, size, mode)


def cutout(size: int) -> Augment:
    """A grey square at a random place, which may reach beyond the image (DeVries & Taylor, 2017).

    Grey, 128 of 255, is as much of a colour as of its opposite in the network's six channels.

    Args:
        size: int, pixels a side of the square.
    """
    return _framework().cutout(size)


def rand_augment(operations: int = 2, magnitude: float = 9) -> Augment:
    """RandAugment (Cubuk et al., 2020) by keras-cv's operations and policy, on TensorFlow.

    Args:
        operations: int, operations applied to an image (n); one of ten each, or none, all equally
            likely.
        magnitude: number from 0 to 30, the scale of the original code (m).

    Raises:
        ValueError: if Keras does not run on TensorFlow.
    """
    return _framework().rand_augment(operations, magnitude)


def _framework() -> ModuleType:
    if backend.NAME == "tensorflow":
        from coda_keras.data import tf_augmentation

        return tf_augmentation
    from coda_keras.data import numpy_augmentation

    return numpy_augmentation
