"""Augmentation of single RGB images by NumPy: `(uint8 image, generator) -> uint8 image`."""

from typing import Any

import numpy as np

from coda_keras.data.batches import Augment, cropped

# What `cutout` fills its squares with.
GREY = 128


def flip_and_crop(
    padding: int = 4, flip: bool = True, size: int | None = None, mode: Any = "constant"
) -> Augment:
    """See `coda_keras.data.augmentation.flip_and_crop`."""

    def augment(image, random):
        rows, columns = image.shape[:2] if size is None else (size, size)
        height, width = (padding + side + padding for side in image.shape[:2])
        corner = random.integers(0, (height - rows + 1, width - columns + 1))
        image = cropped(np, image, corner, padding, (rows, columns), mode)
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
