"""Batches for training by NumPy alone, for backends beside which there is no TensorFlow.

As in `coda_keras.data.tf_batches` order and augmentation are functions of `(seed, epoch, image)`,
though not the same ones.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np

from coda_keras.data.images import Images, steps_per_epoch, test_batch_size

Augment = Callable[[np.ndarray, np.random.Generator], np.ndarray]

# Batches made while the device computes, and threads that make them.
AHEAD, THREADS = 8, 4
# What `cutout` fills its squares with.
GREY = 128


def flip_and_crop(padding: int = 4, flip: bool = True) -> Augment:
    """Random crop after zero padding, and a horizontal flip for every second image.

    Args:
        padding: int, zeros put on each side before the crop of the original size.
        flip: bool.

    Returns:
        A function `(image, random) -> image` of arrays and a generator of random numbers.
    """

    def augment(image, random):
        height, width, _ = image.shape
        row, column = random.integers(0, 2 * padding + 1, 2)
        image = np.pad(image, ((padding, padding), (padding, padding), (0, 0)))
        image = image[row : row + height, column : column + width]
        return image[:, ::-1] if flip and random.random() < 0.5 else image

    return augment


def cutout(size: int) -> Augment:
    """A grey square at a random place, which may reach beyond the image (DeVries & Taylor, 2017).

    Args:
        size: int, pixels a side of the square.

    Returns:
        A function `(image, random) -> image` of arrays and a generator of random numbers.
    """

    def augment(image, random):
        row, column = random.integers(0, image.shape[:2]) - size // 2
        image = image.copy()
        image[max(0, row) : max(0, row + size), max(0, column) : max(0, column + size)] = GREY
        return image

    return augment


def train_batches(
    images: Images,
    labels: np.ndarray,
    batch_size: int,
    epochs: int,
    start_epoch: int = 0,
    seed: int = 0,
    augment: Sequence[Augment] = (),
    sizes: Sequence[int] | None = None,
    start_step: int = 0,
    alternate_flip: bool = False,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Batches for the epochs `start_epoch` to `epochs`, one after the other.

    A run resumed at a step sees the very batches an uninterrupted one sees. The incomplete last
    batch of an epoch is dropped.

    Args:
        images: uint8 `(N, H, W, 3)`, in memory or not.
        labels: int32 `(N,)`.
        batch_size: int.
        epochs, start_epoch, seed: int.
        augment: functions `(image, random) -> image` for one uint8 image.
        sizes: for each epoch the height and width to which augmented images are scaled, by the mean
            over areas; None to leave them as they are.
        start_step: int, batches of the first epoch that are left out.
        alternate_flip: bool, whether every image is flipped in every second epoch, half of them in
            the first one, before `augment` (Jordan, 2024).

    Yields:
        float32 images in [0, 1] and labels, `N // batch_size` batches an epoch.

    Raises:
        ValueError: if there are fewer images than a batch holds.
    """
    steps = steps_per_epoch(len(images), batch_size)
    first_flips = np.random.default_rng(seed).integers(0, 2, len(images))

    def example(epoch, index):
        image = np.asarray(images[index])
        if alternate_flip and (epoch + first_flips[index]) % 2 == 0:
            image = image[:, ::-1]
        for stage, function in enumerate(augment):
            image = function(image, np.random.default_rng([seed, epoch, index, stage]))
        return image

    def batch(epoch, indices):
        examples = _to_unit_range([example(epoch, index) for index in indices])
        return (examples if sizes is None else _scaled(examples, sizes[epoch])), labels[indices]

    def batches():
        for epoch in range(start_epoch, epochs):
            order = np.random.default_rng([seed, epoch]).permutation(len(images))
            for step in range(start_step if epoch == start_epoch else 0, steps):
                yield epoch, order[step * batch_size : (step + 1) * batch_size]

    def made():
        with ThreadPoolExecutor(THREADS) as pool:
            waiting = deque()
            for each in batches():
                waiting.append(pool.submit(batch, *each))
                if len(waiting) > AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()

    return made()


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


def _to_unit_range(images):
    return np.stack(images).astype("float32") / np.float32(255)


def _scaled(images, size):
    """Means over the areas of `size x size` pixels that share the image equally."""
    height, width = (_shares(length, size) for length in images.shape[1:3])
    return np.einsum("ih,nhwc,jw->nijc", height, images, width, optimize=True)


def _shares(length, size):
    """Of the pixels of a side (columns) what part of a new pixel (rows) they are."""
    edges = np.linspace(0, length, size + 1)
    pixels = np.arange(length)
    ends = np.minimum(edges[1:, None], pixels + 1)
    covered = np.maximum(0, ends - np.maximum(edges[:-1, None], pixels))
    return (covered * size / length).astype("float32")
