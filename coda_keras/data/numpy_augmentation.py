"""Augmentation of single RGB images by NumPy: `(uint8 image, generator) -> uint8 image`."""

from typing import Any

import numpy as np

from coda_keras.data.batches import Augment

# What `cutout` fills its squares with.
GREY = 128


def flip_and_crop(
    padding: int = 4, flip: bool = True, size: int | None = None, mode: Any = "constant"
) -> Augment:
    """See `coda_keras.data.augmentation.flip_and_crop`."""

    def augment(image, random):
        padded = np.pad(image, ((padding, padding), (padding, padding), (0, 0)), mode)
        rows, columns = image.shape[:2] if size is None else (size, size)
        corners = (padded.shape[0] - rows + 1, padded.shape[1] - columns + 1)
        row, column = random.integers(0, corners)
        image = padded[row : row + rows, column : column + columns]
        return image[:, ::-1] if flip and random.random() < 0.5 else image

    return augment


def cutout(size: int) -> Augment:
    """See `coda_keras.data.augmentation.cutout`."""

    def augment(image, random):
        row, column = random.integers(0, image.shape[:2]) - size // 2
        image = image.copy()
        image[max(0, row) : max(0, row + size), max(0, column) : max(0, column + size)] = GREY
        return image

    return augment


def rand_augment(operations: int = 2, magnitude: float = 9) -> Augment:
    """Not there without TensorFlow.

    Raises:
        ValueError: always, with what to do.
    """
    raise ValueError("RandAugment needs Keras on TensorFlow. Set KERAS_BACKEND=tensorflow.")
