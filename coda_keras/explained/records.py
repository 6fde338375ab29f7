"""Images of a data set that are read together, and those of them that cannot be read.

Nothing here imports Keras: on a cluster processes of their own read.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple, Protocol

import numpy as np
from PIL import Image

from coda_keras.data.image_files import BrokenImage, decode, fit

Size = tuple[int, int]


class Records(NamedTuple):
    """N images of a data set.

    Attributes:
        ids: N strings, each of one image of the data set.
        labels: N classes, each a number, a name, or None.
        images: uint8 `(N, H, W, 3)`; black where there is an error.
        errors: N sentences about images that cannot be read, None for all others.
    """

    ids: list[str]
    labels: list[int | str | None]
    images: np.ndarray
    errors: list[str | None]


class Source(Protocol):
    """Images of a data set in an order that stays the same; `source[10:20]` is one of them."""

    def __len__(self) -> int: ...
    def __getitem__(self, rows: slice) -> "Source": ...

    def read(self, size: Size) -> Records:
        """Reads all of them, cropped and scaled to `(height, width)` where they are not of it."""
        ...

    def identity(self) -> dict[str, Any]:
        """What tells this data set from others, for JSON."""
        ...

    def class_names(self) -> Sequence[str] | None:
        """Names of the classes that labels are numbers of, or None."""
        ...


def decoded(
    ids: Sequence[str],
    labels: Sequence[int | str | None],
    contents: Sequence[Callable[[], bytes]],
    size: Size,
) -> Records:
    """Records of encoded images, which several threads read and decode.

    Args:
        ids, labels: as of `Records`.
        contents: functions that return the bytes of an image file.
        size: height and width.
    """
    height, width = size
    images = np.zeros((len(ids), height, width, 3), "uint8")

    def attempt(index: int) -> str | None:
        try:
            image, _ = decode(contents[index](), ids[index], max(size))
        except (BrokenImage, OSError) as error:
            # The message may have a path that is no UTF-8.
            return " ".join(str(error).encode("utf-8", "replace").decode().split())
        images[index] = np.asarray(
            image if image.size == (width, height) else fit(image, height, width)
        )
        return None

    with ThreadPoolExecutor() as pool:
        errors = list(pool.map(attempt, range(len(ids))))
    return Records(list(ids), list(labels), images, errors)


def joined(records: Sequence[Records], size: Size) -> Records:
    """Records one after the other as one."""
    images = [np.zeros((0, *size, 3), "uint8"), *(part.images for part in records)]
    ids, labels, errors = (
        [value for part in records for value in getattr(part, name)]
        for name in ("ids", "labels", "errors")
    )
    return Records(ids, labels, np.concatenate(images), errors)


def resized(images: np.ndarray, size: Size) -> np.ndarray:
    """Images `(N, H, W, 3)` of uint8, cropped and scaled where their size is another."""
    if images.shape[1:3] == size:
        return images
    rows = [np.asarray(fit(Image.fromarray(image), *size)) for image in images]
    return np.stack(rows) if rows else np.zeros((0, *size, 3), "uint8")


class Part(NamedTuple):
    """A part that is to be explained.

    Attributes:
        number: of the file.
        first: number of its first row.
        source: its images.
    """

    number: int
    first: int
    source: Source


class Read(NamedTuple):
    """A part whose images have been read."""

    number: int
    first: int
    records: Records


def read(part: Part, size: Size) -> Read:
    """Reads the images of a part."""
    return Read(part.number, part.first, part.source.read(size))


def reading(size: Size) -> Callable[[Part], Read]:
    """`read` for images of a size, as other processes can call it."""
    return partial(read, size=size)
