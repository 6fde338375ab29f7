"""What runs take from TensorFlow where Keras runs on it, and from NumPy where it does not.

start, train                      as `coda_keras.training` has them
cutout, flip_and_crop, rand_augment   augmentation, what `train` takes
load_prepared                     data sets by their names
test_batches                      all test images, in batches
telling_broken_images, is_chief   for loops over images, and for several workers
"""

import os
from contextlib import nullcontext
from pathlib import Path

from coda_keras import backend
from coda_keras.data.cifar10 import is_there, load_cifar10
from coda_keras.data.images import ImageData, load_npz

if backend.NAME == "tensorflow":
    from coda_keras.data.tf_augmentation import cutout as cutout
    from coda_keras.data.tf_augmentation import flip_and_crop as flip_and_crop
    from coda_keras.data.tf_augmentation import rand_augment as rand_augment
    from coda_keras.data.tf_batches import load_tfds as load_prepared
    from coda_keras.data.tf_batches import telling_broken_images as telling_broken_images
    from coda_keras.data.tf_batches import test_batches as test_batches
    from coda_keras.training.run import start as start
    from coda_keras.training.run import train as train
    from coda_keras.training.tf_workers import is_chief as is_chief
else:
    from coda_keras.data.numpy_batches import TestBatches
    from coda_keras.data.numpy_batches import cutout as cutout
    from coda_keras.data.numpy_batches import flip_and_crop as flip_and_crop
    from coda_keras.training.plain import load_prepared as load_prepared
    from coda_keras.training.plain import rand_augment as rand_augment
    from coda_keras.training.plain import start as start
    from coda_keras.training.plain import train as train

    telling_broken_images, test_batches = nullcontext, TestBatches

    def is_chief() -> bool:
        """There is one worker."""
        return True


def load(name: str, place: str | os.PathLike | None = None) -> ImageData:
    """Loads a data set from wherever it lies.

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
    return load_prepared(name, place)
