"""Data sets of TensorFlow Datasets whose images have many sizes, or do not fit into memory."""

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from coda_keras.data.image_files import pixels
from coda_keras.data.image_store import MEMORY, stored
from coda_keras.data.images import ImageData
from coda_keras.data.tf_batches import prepared, reporting_broken_images
from coda_keras.utils.progress import tracked


def load(
    name: str,
    data_dir: str | os.PathLike | None = None,
    size: int | None = None,
    cache: str | os.PathLike | None = None,
) -> ImageData:
    """Loads any labelled images of TensorFlow Datasets, which may be grey or of many sizes.

    Args:
        name: of the data set, with the splits "train" and "test", or else "validation".
        data_dir: folder of prepared data sets; None for TensorFlow Datasets' own.
        size: int, pixels a side to which images are scaled; None for their own.
        cache: as for `read`.

    Raises:
        FileNotFoundError: if the data is neither there nor to be downloaded.
        ValueError: if it has no such splits, images or labels, or `size` is needed.
    """
    import tensorflow_datasets as tfds

    builder = prepared(tfds.builder(name, data_dir=data_dir))
    info = builder.info
    test = next((split for split in ("test", "validation") if split in info.splits), None)
    if info.supervised_keys != ("image", "label") or "train" not in info.splits or test is None:
        raise ValueError(
            f"{name} is no set of labelled images with a part to train and one to test on. It has "
            f"{', '.join(info.features)} in {', '.join(info.splits)}."
        )
    height, width, _ = info.features["image"].shape
    size = height if size is None and height == width else size
    if size is None:
        raise ValueError(f"The images of {name} have many sizes, and the model takes any.")
    return read(builder, size, splits=("train", test), cache=cache)


def read(
    builder: Any,
    size: int,
    train_size: int | None = None,
    classes: int | None = None,
    splits: tuple[str, str] = ("train", "validation"),
    cache: str | os.PathLike | None = None,
    memory: int = MEMORY,
    progress: bool = True,
) -> ImageData:
    """Reads a prepared data set once, scaling its images as it decodes them by several threads.

    Records are read one after the other, and training wants them in any order. What fits is
    therefore kept in memory, decoded; of what does not the decoded images are kept on disk, in
    `cache`, where a later run finds them.

    Args:
        builder: of TensorFlow Datasets, with the features `image` and `label`, prepared.
        size: int, pixels a side of the images: cropped to squares and scaled.
        train_size: int, pixels a side of those to train on, if augmentation crops them to `size`;
            images to test on are then the centres of such. None for `size`.
        classes: int, take only the images of the first so many classes; None for all.
        splits: names of the splits to train and to test on.
        cache: folder for decoded images.
        memory: int, bytes that may be kept in memory.
        progress: bool, whether to show progress bars.

    Returns:
        `ImageData`.

    Raises:
        ValueError: if an image is broken, or the images need a `cache` and none is given.
    """
    names = list(builder.info.features["label"].names)
    classes = len(names) if classes is None else classes
    train_size = size if train_size is None else train_size
    # Images to test on are the centres of such as those to train on.
    crops = {splits[0]: None, splits[1]: None if size == train_size else size}
    counts = {split: builder.info.splits[split].num_examples for split in splits}
    needed = sum(counts.values()) * 3 * train_size**2 * classes / len(names)
    if needed > memory and cache is None:
        raise ValueError(
            f"{builder.name} takes about {needed / 2**30:.0f} GiB at {train_size}x{train_size} "
            "pixels. Name a folder for the decoded images by --cache."
        )
    parts = []
    for split, crop in crops.items():

        def rows(split=split, crop=crop):
            return _rows(builder, split, train_size, crop, classes, progress)

        shape = (crop or train_size, crop or train_size, 3)
        if cache is None or needed <= memory:
            parts.append(_in_memory(rows, shape, f"{builder.name}/{split}"))
        else:
            about = {"data": f"{builder.info.full_name}", "split": split, "classes": classes}
            about = {**about, "images": counts[split], "size": train_size, "crop": crop}
            path = Path(cache) / f"{builder.name}-{split}-{train_size}.uint8"
            parts.append(stored(path, shape, about, rows))
    (train, train_labels), (test, test_labels) = parts
    return ImageData(train, train_labels, test, test_labels, names[:classes])


def _rows(builder, split, size, crop, classes, progress) -> Iterator[tuple[np.ndarray, int]]:
    import tensorflow_datasets as tfds

    # One file after the other: the same order every time.
    config = tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False)
    encoded = builder.as_dataset(
        split=split,
        decoders={"image": tfds.decode.SkipDecoding()},
        read_config=config,
        as_supervised=True,
    )
    numbered = encoded.enumerate().filter(lambda number, example: example[1] < classes)

    def decode(number, example):
        data, label = example

        def image(data, number):
            return pixels(data, f"image {number} of {builder.name}/{split}", size, crop)

        return tf.numpy_function(image, [data, number], tf.uint8), label

    examples = numbered.map(decode, num_parallel_calls=tf.data.AUTOTUNE).prefetch(64)
    with reporting_broken_images():
        label = f"reading {builder.name}/{split}"
        # Of classes left out nobody says how many images they have.
        share = classes / builder.info.features["label"].num_classes
        total = round(share * builder.info.splits[split].num_examples)
        yield from tracked(examples.as_numpy_iterator(), label, "image", total, progress)


def _in_memory(rows: Callable[[], Iterable[tuple[np.ndarray, int]]], shape, name):
    # One buffer that grows: a list of images and their array would take the memory twice.
    content, labels = bytearray(), []
    for image, label in rows():
        content += image.tobytes()
        labels.append(label)
    if not labels:
        raise ValueError(f"There are no images in {name} of the classes that are taken.")
    return np.frombuffer(content, "uint8").reshape(-1, *shape), np.array(labels, "int32")
