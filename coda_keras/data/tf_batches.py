"""Image data for training: loading through TensorFlow Datasets, and batches by epoch."""

import os
import re
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.error import HTTPError

import numpy as np
import tensorflow as tf

from coda_keras.data.batches import VIEW, TrainBatches
from coda_keras.data.images import ImageData, Images, test_batch_size

# The second part of the seed of what changes with epochs has 0, that of lasting flips this.
FLIPS = 1
_fold_in = tf.random.experimental.stateless_fold_in
JPEG_NOTE = "on JPEG-compressed copies of the images, which cost a little accuracy"


def load_tfds(name: str, data_dir: str | os.PathLike | None = None) -> ImageData:
    """Loads `name` with TensorFlow Datasets: prepared data offline, otherwise a download.

    Args:
        name: data set with the splits "train" and "test", for example `"cifar10"`.
        data_dir: folder of prepared data sets; None for TensorFlow Datasets' own.

    Returns:
        `ImageData`.

    Raises:
        FileNotFoundError: if the data is neither there nor to be downloaded.
    """
    import tensorflow_datasets as tfds

    builder = prepared(tfds.builder(name, data_dir=data_dir))
    parts = []
    for split in ("train", "test"):
        examples = builder.as_dataset(split, batch_size=-1, as_supervised=True)
        images, labels = tfds.as_numpy(examples)
        parts += [images, labels.astype("int32")]
    names = list(builder.info.features["label"].names)
    return ImageData(*parts, names, JPEG_NOTE if _is_jpeg(builder) else None)


def prepared(builder: Any) -> Any:
    """Returns a builder of TensorFlow Datasets with its data prepared, by a download if need be.

    Raises:
        FileNotFoundError: if the data is neither there nor to be downloaded.
    """
    if builder.data_path.exists():
        return builder
    try:
        # Where nothing answers, TensorFlow Datasets would go on trying for minutes.
        if getattr(builder, "archive", None) is None:
            for url in [*builder.url_infos, *getattr(builder, "URLS", ())]:
                request = urllib.request.Request(url, method="HEAD")
                # An answer is enough, whatever it is.
                with suppress(HTTPError):
                    urllib.request.urlopen(request, timeout=20).close()
        builder.download_and_prepare()
    except (ValueError, FileNotFoundError):
        # Of files that are there, and say what is wrong with them.
        raise
    except Exception as error:
        by_hand = builder.MANUAL_DOWNLOAD_INSTRUCTIONS
        raise FileNotFoundError(
            f"{builder.name} is not prepared in {builder.data_path} and could not be "
            f"{'prepared' if by_hand else 'downloaded'} ({type(error).__name__}). Point --data at "
            f"a folder with {builder.name}/{builder.version} prepared by tensorflow_datasets, or "
            + (
                f"download its files by hand: {by_hand}"
                if by_hand
                else "connect to the internet; `coda-keras train digits` needs no download."
            )
        ) from error
    return builder


def _is_jpeg(builder):
    import tensorflow_datasets as tfds

    raw = builder.as_dataset(split="test[:1]", decoders={"image": tfds.decode.SkipDecoding()})
    return next(iter(raw))["image"].numpy().startswith(b"\xff\xd8")


class Draws:
    """See `coda_keras.data.batches.Draws`; what a stage draws from is a seed, integers `(2,)`.

    Seeds are folded into one another by a hash.

    Args:
        seed: int.
        epoch: scalar tensor, int64.
        count: int, of the images.
    """

    arrays = tf

    def __init__(self, seed: int, epoch: tf.Tensor, count: int) -> None:
        self.seed, self.count = seed, count
        epoch_seed = _fold_in(tf.constant([seed, 0], tf.int64), epoch)
        seeds = tf.random.experimental.stateless_split(epoch_seed, 2)
        self.order_seed, self.image_seed = tf.unstack(seeds)

    def permutation(self) -> tf.Tensor:
        indices = tf.range(self.count, dtype=tf.int64)
        return tf.random.experimental.stateless_shuffle(indices, seed=self.order_seed)

    def first_flip(self, index: tf.Tensor) -> tf.Tensor:
        seed = _fold_in(tf.constant([self.seed, FLIPS], tf.int64), index)
        return tf.random.stateless_uniform((), seed, 0, 2, tf.int64)

    def of(self, index: tf.Tensor, stage: int) -> tf.Tensor:
        return _fold_in(_fold_in(self.image_seed, index), tf.constant(stage, tf.int64))

    def view(self, index: tf.Tensor, shifts: int) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        drawn = tf.random.stateless_uniform((3,), self.of(index, VIEW), 0, 2**31 - 1, tf.int64)
        return drawn[0] % 2, drawn[1] % shifts, drawn[2] % shifts


def train_batches(batches: TrainBatches) -> tf.data.Dataset:
    """Makes batches to train on, float32 images in [0, 1] and labels; see `TrainBatches`."""
    example_at, sizes = _examples(batches.images, batches.labels), batches.sizes
    with tf.device("CPU:0"):
        targets = None if batches.targets is None else tf.constant(batches.targets)

    def one_epoch(epoch):
        draws = Draws(batches.seed, epoch, len(batches.images))

        def example(index):
            image, label = example_at(index)
            if batches.targets is not None:
                view = tf.stack([index, *batches.view(epoch, index, draws)])
                label = tf.cast(tf.gather_nd(targets, view), tf.float32)
            return batches.augmented(image, epoch, index, draws), label

        examples = tf.data.Dataset.from_tensor_slices(batches.order(epoch, draws))
        examples = examples.map(example, num_parallel_calls=tf.data.AUTOTUNE)
        examples = examples.batch(batches.share_size, drop_remainder=True).map(_to_unit_range)
        if sizes is None:
            return examples
        size = tf.gather(tf.constant(sizes), epoch)

        def scale(images, labels):
            return tf.image.resize(images, size, "area"), labels

        return examples.map(scale)

    epochs = tf.data.Dataset.range(batches.start_epoch, batches.epochs)
    return epochs.flat_map(one_epoch).prefetch(tf.data.AUTOTUNE)


def test_batches(
    images: Images, labels: np.ndarray, batch_size: int | None = None
) -> tf.data.Dataset:
    """All of the images in order, in batches of float32 images in [0, 1] and labels.

    Args:
        images: uint8 `(N, H, W, 3)`, in memory or not.
        labels: int32 `(N,)`.
        batch_size: int; None for `test_batch_size(images)`.
    """
    examples = tf.data.Dataset.range(len(images))
    examples = examples.map(_examples(images, labels), num_parallel_calls=tf.data.AUTOTUNE)
    examples = examples.batch(batch_size or test_batch_size(images))
    return examples.map(_to_unit_range).prefetch(tf.data.AUTOTUNE)


@contextmanager
def reporting_broken_images() -> Iterator[None]:
    """Turns what TensorFlow says of an image that could not be read into a `ValueError` about it.

    For a loop over batches: an image that stays in its file is read in the middle of an epoch.
    """
    try:
        yield
    except tf.errors.OpError as error:
        broken = re.search(r"BrokenImage: (.*)", error.message)
        if broken is None:
            raise
        raise ValueError(broken[1]) from error


def _examples(images, labels) -> Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
    """A function from an index to the image and its label, on the CPU whatever else there is."""
    with tf.device("CPU:0"):
        labels = tf.constant(labels)
        if type(images) is np.ndarray:
            constant = tf.constant(images)
            return lambda index: (tf.gather(constant, index), tf.gather(labels, index))

    def example(index):
        image = tf.numpy_function(lambda row: np.asarray(images[row]), [index], tf.uint8)
        return tf.ensure_shape(image, images.shape[1:]), tf.gather(labels, index)

    return example


def _to_unit_range(images, labels):
    return tf.cast(images, tf.float32) / 255.0, labels
