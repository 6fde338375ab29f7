"""Test images as models take them, in memory or not."""

import hashlib
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np

Indices: TypeAlias = Sequence[int] | np.ndarray


class FloatImages:
    """Images as floats in [0, 1], read when a part of them is asked for.

    `images[3]`, `images[:50]` and `images[indices]` are NumPy arrays, float32.

    Args:
        images: uint8 `(N, H, W, 3)`, an array in memory or on disk, or
            `coda_keras.data.image_files.ImageFiles`.
    """

    def __init__(self, images: Any) -> None:
        self._images = images

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self._images.shape)

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: Any) -> np.ndarray:
        return np.asarray(self._images[index]).astype("float32") / 255.0


class StudyData:
    """The test images of a study, which all its models share.

    Args:
        data: test images, labels and class names, as `coda_keras.data.images.ImageData`.
        at_once: int, how many images are in memory together.

    Attributes:
        images: `FloatImages`.
        labels: `(N,)`.
        class_names: list of str.
    """

    def __init__(self, data: Any, at_once: int) -> None:
        self._images = data.test_images
        self._at_once = at_once
        self.images = FloatImages(data.test_images)
        self.labels = data.test_labels
        self.class_names = list(data.class_names)

    @cached_property
    def digest(self) -> str:
        """A short name of the content of images and labels."""
        content = hashlib.sha256()
        for part in slices(0, len(self._images), self._at_once):
            content.update(np.ascontiguousarray(self._images[part]).data)
        content.update(np.ascontiguousarray(self.labels).data)
        return content.hexdigest()[:12]


def slices(start: int, stop: int, step: int) -> Iterator[slice]:
    """Yields slices of at most `step` from `start` to `stop`."""
    for begin in range(start, stop, step):
        yield slice(begin, min(begin + step, stop))
