"""CIFAR-10 as it is distributed: the binary and the Python version, without a download."""

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from coda_keras.data.images import ImageData

TRAIN = [f"data_batch_{number}" for number in range(1, 6)]
TEST = "test_batch"
NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
PIXELS = 3 * 32 * 32
RECORD = 1 + PIXELS

# All that the pickles of the Python version name.
_KNOWN = {
    ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
}


def is_there(folder: Path) -> bool:
    """Whether a folder holds a version of CIFAR-10, complete or not."""
    return any((folder / f"{TEST}{suffix}").is_file() for suffix in ("", ".bin"))


def load_cifar10(folder: Path) -> ImageData:
    """Reads `cifar-10-batches-bin` or `cifar-10-batches-py`.

    Args:
        folder: where the batches lie.

    Raises:
        FileNotFoundError: if one of the six batches is missing.
        ValueError: if one is damaged.
    """
    suffix = ".bin" if (folder / f"{TEST}.bin").is_file() else ""
    read = _binary if suffix else _pickled
    parts = []
    for names in (TRAIN, [TEST]):
        batches = []
        for name in names:
            path = folder / f"{name}{suffix}"
            try:
                content = path.read_bytes()
            except FileNotFoundError as error:
                raise FileNotFoundError(
                    f"{folder} is not all of CIFAR-10: {path.name} is missing."
                ) from error
            try:
                batches.append(read(content))
            # Damaged pickles raise a dozen kinds of errors.
            except Exception as error:
                raise ValueError(f"{path} is no batch of CIFAR-10, or damaged: {error}") from error
        pixels, labels = (np.concatenate(values) for values in zip(*batches))
        images = pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        parts += [np.ascontiguousarray(images), labels.astype("int32")]
    train_images, train_labels, test_images, test_labels = parts
    return ImageData(train_images, train_labels, test_images, test_labels, NAMES)


def _binary(content):
    if not content or len(content) % RECORD:
        raise ValueError(f"{len(content)} bytes, which is no multiple of {RECORD}.")
    records = np.frombuffer(content, "uint8").reshape(-1, RECORD)
    return _checked(records[:, 1:], records[:, 0])


def _pickled(content):
    batch = _Arrays(content).load()
    return _checked(batch[b"data"], np.asarray(batch[b"labels"]))


def _checked(pixels, labels):
    shape = (len(labels), PIXELS)
    if pixels.dtype != np.uint8 or pixels.shape != shape or not np.all(labels < len(NAMES)):
        raise ValueError(f"{pixels.dtype} {pixels.shape}, labels up to {labels.max(initial=0)}.")
    return pixels, labels


class _Arrays(pickle.Unpickler):
    """Reads arrays, lists and dicts, and runs nothing that a file asks for."""

    def __init__(self, content):
        super().__init__(io.BytesIO(content), encoding="bytes")

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _KNOWN[module, name]
        except KeyError as error:
            raise pickle.UnpicklingError(f"it names {module}.{name}.") from error
