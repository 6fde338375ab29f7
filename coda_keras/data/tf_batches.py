"""Image data for training: loading through TensorFlow Datasets, and batches by epoch."""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import tensorflow as tf

from coda_keras.data.images import ImageData as ImageData
from coda_keras.data.images import Images
from coda_keras.data.images import load_digits as load_digits
from coda_keras.data.images import steps_per_epoch as steps_per_epoch
from coda_keras.data.images import test_batch_size as test_batch_size
from coda_keras.data.tf_augmentation import Augment

# The second part of the seed of what changes with epochs has 0, that of lasting flips this.
FLIPS = 1
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
    splits = [
        tfds.as_numpy(builder.as_dataset(split, batch_size=-1, as_supervised=True))
        for split in ("train", "test")
    ]
    (train_images, train_labels), (test_images, test_labels) = splits
    return ImageData(
        train_images,
        train_labels.astype("int32"),
        test_images,
        test_labels.astype("int32"),
        list(builder.info.features["label"].names),
        JPEG_NOTE if _is_jpeg(builder) else None,
    )


def prepared(builder: Any) -> Any:
    """Returns a builder of TensorFlow Datasets with its data prepared, by a download if need be.

    Raises:
        FileNotFoundError: if the data is neither there nor to be downloaded.
    """
    import requests

    if builder.data_path.exists():
        return builder
    try:
        # Where nothing answers, TensorFlow Datasets would go on trying for minutes.
        if getattr(builder, "archive", None) is None:
            for url in [*builder.url_infos, *getattr(builder, "URLS", ())]:
                requests.head(url, timeout=20)
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
                else "connect to the internet; the digits need no download (recipes/digits.py)."
            )
        ) from error
    return builder


def _is_jpeg(builder):
    import tensorflow_datasets as tfds

    raw = builder.as_dataset(split="test[:1]", decoders={"image": tfds.decode.SkipDecoding()})
    return next(iter(raw))["image"].numpy().startswith(b"\xff\xd8")


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
    share: tuple[int, int] = (0, 1),
    alternate_flip: bool = False,
) -> tf.data.Dataset:
    """Batches for the epochs `start_epoch` to `epochs`, one after the other.

    Order and augmentation are functions of `(seed, epoch, image)` alone: a run resumed at a
    step sees the very batches an uninterrupted one sees. Each of these, and each stage of the
    augmentation, is folded into the seed by a hash, so that no two share random numbers. The
    incomplete last batch of an epoch is dropped, since replicas given unequal shares would train
    to other weights. Images that are not in memory are read by several threads, a few batches
    ahead; the batches are the same.

    Args:
        images: uint8 `(N, H, W, 3)`, in memory or not.
        labels: int32 `(N,)`.
        batch_size: int, over all replicas.
        epochs, start_epoch, seed: int.
        augment: functions `(image, seed) -> image` for one uint8 image and a seed of shape (2,).
        sizes: for each epoch the height and width to which augmented images are scaled, by the mean
            over areas; None to leave them as they are.
        start_step: int, batches of the first epoch that are left out.
        share: `(index, count)`, which of how many equal parts of every batch is wanted.
        alternate_flip: bool, whether every image is flipped in every second epoch, half of them in
            the first one, before `augment` (Jordan, 2024): each is seen both ways in any two
            epochs, which independent flips do half the time.

    Returns:
        `tf.data.Dataset` of float32 images in [0, 1] and labels, `N // batch_size` batches an
        epoch.

    Raises:
        ValueError: if there are fewer images than a batch holds, or a batch has no such parts.
    """
    count = len(images)
    used = steps_per_epoch(count, batch_size) * batch_size
    part, parts = share
    if batch_size % parts or not 0 <= part < parts:
        raise ValueError(
            f"A batch of {batch_size} images has no part {part} of {parts} equal ones."
        )
    fold_in = tf.random.experimental.stateless_fold_in
    example_at = _examples(images, labels)

    def flipped(epoch, index):
        own = fold_in(tf.constant([seed, FLIPS], tf.int64), index)
        first = tf.random.stateless_uniform((), own, 0, 2, tf.int64)
        return tf.equal((epoch + first) % 2, 0)

    def one_epoch(epoch):
        epoch_seed = fold_in(tf.constant([seed, 0], tf.int64), epoch)
        order_seed, image_seed = tf.unstack(tf.random.experimental.stateless_split(epoch_seed, 2))
        order = tf.random.experimental.stateless_shuffle(
            tf.range(count, dtype=tf.int64), seed=order_seed
        )
        skipped = tf.where(epoch == start_epoch, start_step * batch_size, 0)
        parted = tf.reshape(order[skipped:used], (-1, parts, batch_size // parts))
        order = tf.reshape(parted[:, part], (-1,))

        def example(index):
            (image, label), own_seed = example_at(index), fold_in(image_seed, index)
            if alternate_flip:
                image = tf.cond(flipped(epoch, index), lambda: image[:, ::-1], lambda: image)
            for stage, function in enumerate(augment):
                image = function(image, fold_in(own_seed, tf.constant(stage, tf.int64)))
            return image, label

        examples = tf.data.Dataset.from_tensor_slices(order)
        examples = examples.map(example, num_parallel_calls=tf.data.AUTOTUNE)
        batches = examples.batch(batch_size // parts, drop_remainder=True).map(_to_unit_range)
        if sizes is None:
            return batches
        size = tf.gather(tf.constant(sizes), epoch)

        def scale(images, labels):
            return tf.image.resize(images, tf.stack([size, size]), "area"), labels

        return batches.map(scale)

    return tf.data.Dataset.range(start_epoch, epochs).flat_map(one_epoch).prefetch(tf.data.AUTOTUNE)


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
def telling_broken_images() -> Iterator[None]:
    """Turns what TensorFlow says of an image that could not be read into a `ValueError` about it.

    For a loop over batches: an image that stays in its file is read in the middle of an epoch.
    """
    try:
        yield
    except tf.errors.OpError as error:
        found = re.search(r"BrokenImage: (.*)", error.message)
        if found is None:
            raise
        raise ValueError(found[1]) from error


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
