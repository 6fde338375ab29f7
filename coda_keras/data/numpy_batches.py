"""Batches by NumPy alone, for backends beside which there is no TensorFlow."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import keras
import numpy as np

from coda_keras.data.batches import VIEW, TrainBatches
from coda_keras.data.images import Images, test_batch_size

# Batches made while the device computes, and threads that make them.
AHEAD, THREADS = 8, 4

# An image that cannot be read says so itself.
reporting_broken_images = nullcontext


class Draws:
    """See `coda_keras.data.batches.Draws`; what a stage draws from is a `numpy.random.Generator`.

    Args:
        seed, epoch: int.
        count: int, of the images.
    """

    arrays = np

    def __init__(self, seed: int, epoch: int, count: int) -> None:
        self.seed, self.epoch, self.count = seed, epoch, count
        self.first_flips = np.random.default_rng(seed).integers(0, 2, count)

    def permutation(self) -> np.ndarray:
        return np.random.default_rng([self.seed, self.epoch]).permutation(self.count)

    def first_flip(self, index: int) -> int:
        return self.first_flips[index]

    def of(self, index: int, stage: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, self.epoch, index, stage])

    def view(self, index: int, shifts: int) -> tuple[int, int, int]:
        return tuple(self.of(index, VIEW).integers(0, (2, shifts, shifts)))


def train_batches(batches: TrainBatches) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Makes batches to train on, float32 images in [0, 1] and labels; see `TrainBatches`."""
    images, sizes = batches.images, batches.sizes

    def batch(epoch, draws, indices):
        examples = _to_unit_range(
            [batches.augmented(np.asarray(images[i]), epoch, i, draws) for i in indices]
        )
        examples = examples if sizes is None else _scaled(examples, sizes[epoch])
        if batches.targets is None:
            return examples, batches.labels[indices]
        views = [batches.view(epoch, i, draws) for i in indices]
        targets = [batches.targets[(i, *view)] for i, view in zip(indices, views)]
        return examples, np.stack(targets).astype("float32")

    def parts():
        for epoch in range(batches.start_epoch, batches.epochs):
            draws = Draws(batches.seed, epoch, len(images))
            for indices in batches.order(epoch, draws).reshape(-1, batches.share_size):
                yield epoch, draws, indices

    with ThreadPoolExecutor(THREADS) as pool:
        waiting = deque()
        for part in parts():
            waiting.append(pool.submit(batch, *part))
            if len(waiting) > AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


class TestBatches(keras.utils.PyDataset):
    """All of the images in order, in batches of float32 images in [0, 1] and labels.

    Args:
        images: uint8 `(N, H, W, 3)`, in memory or not.
        labels: int32 `(N,)`.
        batch_size: int; None for `test_batch_size(images)`.
    """

    __test__ = False  # No test, whatever pytest thinks of the name.

    def __init__(self, images: Images, labels: np.ndarray, batch_size: int | None = None) -> None:
        super().__init__()
        self.images, self.labels = images, labels
        self.batch_size = batch_size or test_batch_size(images)

    def __len__(self) -> int:
        return -(-len(self.images) // self.batch_size)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        # Which also ends a loop over the batches.
        if not 0 <= index < len(self):
            raise IndexError(index)
        rows = range(len(self.images))[index * self.batch_size :][: self.batch_size]
        return _to_unit_range([self.images[row] for row in rows]), self.labels[list(rows)]


# What `coda_keras.data.batches.framework` promises.
test_batches = TestBatches


def _to_unit_range(images):
    return np.stack(images).astype("float32") / np.float32(255)


def _scaled(images, size):
    """Means over the areas of `(height, width)` pixels that share the image equally."""
    height, width = map(_shares, images.shape[1:3], size)
    return np.einsum("ih,nhwc,jw->nijc", height, images, width, optimize=True)


def _shares(length, size):
    """Of the pixels of a side (columns) what part of a new pixel (rows) they are."""
    edges = np.linspace(0, length, size + 1)
    pixels = np.arange(length)
    ends = np.minimum(edges[1:, None], pixels + 1)
    covered = np.maximum(0, ends - np.maximum(edges[:-1, None], pixels))
    return (covered * size / length).astype("float32")
