"""MNIST's format: unsigned bytes behind a header that tells their shape, as they are or as gzip."""

import gzip
import math
import os
import struct
import zlib
from pathlib import Path

import numpy as np

from coda_keras.data.images import ImageData, digit_names, grey_as_rgb
from coda_keras.utils.inflating import check_size

# First four bytes of images and of labels: bytes, in three dimensions or in one.
IMAGES, LABELS = 0x803, 0x801


def load_idx(folder: str | os.PathLike) -> ImageData:
    """MNIST, or a data set in its format, from the four files in which it is distributed.

    These are `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, and the same with `t10k`, each
    as it is or as `.gz`. If one of the two parts is missing, the last fifth of the other is the
    test set, and the note says so.

    Args:
        folder: where the files lie.

    Returns:
        `ImageData`, grey images as RGB.

    Raises:
        FileNotFoundError: if neither part is there, or labels are missing.
        ValueError: if a file is damaged, there are not as many labels as images, or a label is no
            digit.
    """
    folder = Path(folder)
    parts = {name: _part(folder, name) for name in ("train", "t10k")}
    there = {name: part for name, part in parts.items() if part is not None}
    if not there:
        raise FileNotFoundError(
            f"There are no digits in {folder}. Expected train-images-idx3-ubyte and "
            "train-labels-idx1-ubyte, or the same with t10k, each as it is or as .gz."
        )
    if len(there) == 2:
        (train, train_labels), (test, test_labels) = there["train"], there["t10k"]
        return ImageData(train, train_labels, test, test_labels, digit_names())
    ((name, (images, labels)),) = there.items()
    split = len(images) - len(images) // 5
    note = f"the last {len(images) - split} digits of {name}; the {split} before them trained"
    train, test = slice(split), slice(split, None)
    return ImageData(images[train], labels[train], images[test], labels[test], digit_names(), note)


def _part(folder, name):
    """Images and labels of one part, None if its images are not there."""
    images = _first_of(folder, f"{name}-images-idx3-ubyte")
    if images is None:
        return None
    labels = _first_of(folder, f"{name}-labels-idx1-ubyte")
    if labels is None:
        raise FileNotFoundError(f"{images} has no labels. Expected {name}-labels-idx1-ubyte[.gz].")
    pictures, numbers = _read(images, IMAGES), _read(labels, LABELS)
    if len(pictures) != len(numbers):
        raise ValueError(f"{labels} has {len(numbers)} labels for {len(pictures)} images.")
    if numbers.max(initial=0) >= len(digit_names()):
        raise ValueError(
            f"{labels} has the label {numbers.max()}. Expected digits, from 0 to 9; letters, as "
            "EMNIST has them, cannot be read."
        )
    return grey_as_rgb(pictures), numbers.astype("int32")


def _first_of(folder, name):
    return next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)


def _read(path: Path, expected: int) -> np.ndarray:
    what, dimensions = "images" if expected == IMAGES else "labels", expected & 0xFF
    stored = path.stat().st_size
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            magic, *shape = struct.unpack(f">{1 + dimensions}I", file.read(4 + 4 * dimensions))
            size = math.prod(shape)
            if magic != expected:
                raise ValueError(f"it begins with {magic:#010x}, {what} with {expected:#010x}")
            check_size(size, stored)
            content = file.read(size + 1)
    except (struct.error, EOFError, gzip.BadGzipFile, zlib.error, ValueError) as error:
        raise ValueError(
            f"{path} is no idx file of {what}, or damaged: {error}. Fetch it again."
        ) from error
    if len(content) != size:
        raise ValueError(
            f"{path} is cut off, or damaged: {size} bytes should follow its header. Fetch it again."
        )
    return np.frombuffer(content, "uint8").reshape(shape)
