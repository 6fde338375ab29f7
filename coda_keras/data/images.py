"""Labelled images, in memory or not, and where they come from without any framework."""

import os
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from coda_keras.data.image_files import ImageFiles
from coda_keras.utils import extras
from coda_keras.utils.files import replacing
from coda_keras.utils.inflating import read_npz
from coda_keras.utils.text import listed

# `numpy.memmap` is an array as well: one that stays on disk.
Images: TypeAlias = np.ndarray | ImageFiles

# Test images in a batch at most, and pixels, so that large images take no more memory.
TEST_BATCH, TEST_PIXELS = 250, 2**19
# Every class that labels of a file name gets a name.
MAX_CLASSES = 2**20


class FloatImages:
    """Images as floats in [0, 1], read when a part of them is asked for.

    `images[3]`, `images[:50]` and `images[indices]` are NumPy arrays, float32.

    Args:
        images: uint8 `(N, H, W, 3)`, an array in memory or on disk, or `ImageFiles`.
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


class ImageData(NamedTuple):
    """A labelled image data set.

    Attributes:
        train_images, test_images: uint8 `(N, H, W, 3)`: arrays in memory or on disk, or
            `ImageFiles`. The images to train on may be larger than those to test on, where
            augmentation crops them.
        train_labels, test_labels: int32 `(N,)`.
        class_names: list of str.
        note: a sentence to stand beside every number obtained from this data, or None.
    """

    train_images: Images
    train_labels: np.ndarray
    test_images: Images
    test_labels: np.ndarray
    class_names: list[str]
    note: str | None = None

    def hold_out(self, count: int) -> "ImageData":
        """Returns the same with the last `count` images to train on as those to test on.

        Raises:
            ValueError: if no others are left.
        """
        if not 0 < count < len(self.train_images):
            raise ValueError(
                f"Cannot hold out {count} of {len(self.train_images)} training images. Expected "
                "from 1 to one less than there are."
            )
        kept = len(self.train_images) - count
        return self._replace(
            train_images=self.train_images[:kept],
            train_labels=self.train_labels[:kept],
            test_images=self.train_images[kept:],
            test_labels=self.train_labels[kept:],
        )

    def limit(self, train: int | None = None, test: int | None = None) -> "ImageData":
        """Returns the same with only the first `train` and `test` images; None keeps all."""
        return self._replace(
            train_images=self.train_images[:train],
            train_labels=self.train_labels[:train],
            test_images=self.test_images[:test],
            test_labels=self.test_labels[:test],
        )


def steps_per_epoch(count: int, batch_size: int) -> int:
    """Number of whole batches in `count` images.

    Raises:
        ValueError: if there are fewer images than a batch holds.
    """
    if count < batch_size:
        raise ValueError(
            f"Got {count} training images for batches of {batch_size}. "
            "Use more images or a smaller batch size."
        )
    return count // batch_size


def test_batch_size(images: Images) -> int:
    """Images in a batch to test on: 250, or fewer if they have more than 45x45 pixels."""
    return max(1, min(TEST_BATCH, TEST_PIXELS // int(np.prod(images.shape[1:3]))))


def save_npz(data: ImageData, path: str | os.PathLike) -> None:
    """Writes a data set as one file, which `load_npz` reads on a machine that has NumPy alone."""
    note = "" if data.note is None else data.note
    with replacing(path) as temporary:
        np.savez(temporary, **{**data._asdict(), "note": note})


def load_npz(path: str | os.PathLike) -> ImageData:
    """Reads what `save_npz` has written.

    Args:
        path: an `.npz` file with `train_images`, `test_images`, uint8 `(N, H, W, 3)`, with
            `train_labels` and `test_labels`, and, if the classes have names, with `class_names`.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged, or lacks some of these, or has them otherwise.
    """
    if not zipfile.is_zipfile(path) and Path(path).stat():
        raise ValueError(f"{path} is no .npz file, or cut off.")
    arrays = read_npz(path)
    missing = [name for name in ImageData._fields[:4] if name not in arrays]
    if missing:
        raise ValueError(f"{path} has no {', '.join(missing)}. It has {', '.join(arrays)}.")
    for part in ("train", "test"):
        images, labels = arrays[f"{part}_images"], arrays[f"{part}_labels"]
        shapes = images.shape[3:] == (3,) and labels.shape == images.shape[:1]
        shapes = shapes and 0 not in images.shape[1:3]
        if images.dtype != np.uint8 or labels.dtype.kind not in "iu" or not shapes:
            raise ValueError(
                f"{path}: expected {part}_images as uint8 (N, H, W, 3) with as many integers as "
                f"{part}_labels. Received {images.dtype} {images.shape} and {labels.dtype} "
                f"{labels.shape}."
            )
        if labels.size and not 0 <= labels.min() <= labels.max() < MAX_CLASSES:
            raise ValueError(
                f"{path}: expected {part}_labels from 0 to {MAX_CLASSES - 1}. Received "
                f"{labels.min()} to {labels.max()}."
            )
        arrays[f"{part}_labels"] = labels.astype("int32")
    classes = 1 + max(arrays[f"{part}_labels"].max(initial=0) for part in ("train", "test"))
    given = arrays["class_names"] if "class_names" in arrays else np.arange(classes)
    if given.ndim != 1:
        raise ValueError(f"{path}: expected class_names as a list. Received shape {given.shape}.")
    names = [str(name) for name in given]
    if len(names) < classes:
        raise ValueError(
            f"{path}: expected a name in class_names for each of the labels from 0 to "
            f"{classes - 1}. Received {len(names)} names."
        )
    unfit = [name for name, count in Counter(names).items() if count > 1 or not name]
    if unfit:
        raise ValueError(
            f"{path}: expected different class_names, none of them empty. Received several times, "
            f"or empty: {listed(map(repr, unfit))}."
        )
    if not len(arrays["test_images"]):
        raise ValueError(f"{path}: expected at least one image to test on. test_images is empty.")
    return ImageData(
        *(arrays[name] for name in ImageData._fields[:4]),
        class_names=names,
        note=str(arrays.get("note", "")) or None,
    )


def load_digits() -> ImageData:
    """Scikit-learn's 1,797 digits as RGB images of 16x16 pixels, white on black.

    The last 360, of other writers than most of the rest, are the test set.

    Raises:
        ModuleNotFoundError: if scikit-learn is not installed.
    """
    extras.require("demo")
    from sklearn import datasets

    digits = datasets.load_digits()
    grey = np.round(digits.images * (255 / 16)).astype("uint8")
    images = grey_as_rgb(grey.repeat(2, axis=1).repeat(2, axis=2))
    labels = digits.target.astype("int32")
    split = len(images) - 360
    return ImageData(images[:split], labels[:split], images[split:], labels[split:], digit_names())


def grey_as_rgb(grey: np.ndarray) -> np.ndarray:
    """Returns `(N, H, W)` as `(N, H, W, 3)`."""
    return np.repeat(grey[..., None], 3, axis=-1)


def digit_names() -> list[str]:
    """Names of the classes of digits."""
    return [str(digit) for digit in range(10)]
