"""Data sets by their names, from wherever they lie."""

import os
from pathlib import Path

from coda_keras import backend
from coda_keras.data.cifar10 import is_there, load_cifar10
from coda_keras.data.images import ImageData, load_npz


def load(name: str, place: str | os.PathLike | None = None) -> ImageData:
    """Loads a data set.

    Args:
        name: as TensorFlow Datasets calls it, for example `"cifar10"`.
        place: an `.npz` file; for CIFAR-10 also the folder of its binary or Python version; or a
            folder of data sets prepared by TensorFlow Datasets, None for its own.

    Raises:
        FileNotFoundError: if it is not there and cannot be downloaded.
        ValueError: if files are damaged, or the place needs TensorFlow.
    """
    if place is not None:
        path = Path(place)
        if path.suffix == ".npz":
            return load_npz(path)
        if name == "cifar10" and is_there(path):
            return load_cifar10(path)
    if backend.NAME == "tensorflow":
        from coda_keras.data.tf_batches import load_tfds

        return load_tfds(name, place)
    raise ValueError(
        f"{name} in {place or 'the folder of TensorFlow Datasets'} needs TensorFlow, and Keras "
        f"runs on {backend.NAME}. Point --data at CIFAR-10 as it is distributed "
        "(cifar-10-batches-bin or cifar-10-batches-py), or at a file that "
        "coda_keras.data.images.save_npz has written."
    )
