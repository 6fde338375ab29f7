"""The test images that the models of a study share, in memory or not."""

import hashlib
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np

from coda_keras.data.images import FloatImages

Indices: TypeAlias = Sequence[int] | np.ndarray


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
