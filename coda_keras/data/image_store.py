"""Decoded images on disk, for data sets that do not fit into memory."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from coda_keras.utils.files import replacing, write_json

# Bytes of images that are kept in memory, training and test images together.
MEMORY = 4 * 2**30


def stored(
    path: Path,
    shape: tuple[int, int, int],
    about: dict[str, Any],
    rows: Callable[[], Iterable[tuple[np.ndarray, int]]],
) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels from a file, which is written first if it is not there.

    The file holds the pixels one after the other; a `.json` beside it, which comes last, has their
    number, the labels, and what they are of. Images read from it are random access at the speed of
    the disk, or of memory if they fit into what the system has free.

    Args:
        path: of the file.
        shape: `(H, W, 3)` of an image.
        about: plain values that tell these images from others; a file about others is replaced.
        rows: function that returns the images, uint8, with their labels, in order.

    Returns:
        `(images, labels)`: a read-only `numpy.memmap` `(N, H, W, 3)`, and int32 `(N,)`.

    Raises:
        OSError: if the disk is full, which leaves no file.
        ValueError: if there are no images.
    """
    record = path.with_suffix(".json")
    about = {**about, "shape": list(shape)}
    if not _is_about(record, path, about):
        record.unlink(missing_ok=True)
        labels = []
        with replacing(path) as temporary, temporary.open("wb") as file:
            for image, label in rows():
                file.write(np.ascontiguousarray(image, "uint8").tobytes())
                labels.append(int(label))
            if not labels:
                raise ValueError(f"There are no images for {path}.")
        write_json(record, {"about": about, "labels": labels})
    labels = np.array(json.loads(record.read_text("utf-8"))["labels"], "int32")
    return np.memmap(path, "uint8", mode="r", shape=(len(labels), *shape)), labels


def _is_about(record, path, about):
    if not (record.exists() and path.exists()):
        return False
    stored_as = json.loads(record.read_text("utf-8"))
    size = len(stored_as["labels"]) * int(np.prod(about["shape"]))
    return stored_as["about"] == about and path.stat().st_size == size
