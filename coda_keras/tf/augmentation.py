"""Augmentation of single RGB images: functions `(uint8 image, seed) -> uint8 image`."""

from collections.abc import Callable

import tensorflow as tf

Augment = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


def flip_and_crop(padding: int = 4, flip: bool = True) -> Augment:
    """Random crop after zero padding, and a horizontal flip for every second image.

    Args:
        padding: int, zeros put on each side before the crop of the original size.
        flip: bool.

    Returns:
        A function `(image, seed) -> image`, `seed` of two integers; its result depends on these
        alone.
    """

    def augment(image, seed):
        height, width, _ = image.shape
        image = tf.image.pad_to_bounding_box(
            image, padding, padding, height + 2 * padding, width + 2 * padding
        )
        # Not `seed + 1` for the second draw: that is the seed of another image.
        crop_seed, flip_seed = tf.unstack(tf.random.experimental.stateless_split(seed, 2))
        corner = tf.random.stateless_uniform((2,), crop_seed, 0, 2 * padding + 1, dtype=tf.int32)
        image = tf.slice(image, [corner[0], corner[1], 0], [height, width, 3])
        if not flip:
            return image
        coin = tf.random.stateless_uniform((), flip_seed) < 0.5
        return tf.cond(coin, lambda: tf.image.flip_left_right(image), lambda: image)

    return augment


def rand_augment(operations: int = 2, magnitude: float = 9) -> Augment:
    """RandAugment (Cubuk et al., 2020) with keras-cv's operations.

    keras-cv draws from a generator of its own: the images differ from run to run, and after a
    resume from those of an uninterrupted run.

    Args:
        operations: int, operations applied to an image (n).
        magnitude: number from 0 to 30, the scale of the original code (m).

    Returns:
        A function `(image, seed) -> image`.
    """
    from keras_cv.layers import RandAugment

    layer = RandAugment(
        value_range=(0, 255),
        augmentations_per_image=operations,
        magnitude=magnitude / 30,
        magnitude_stddev=0.0,
    )

    # keras-cv branches on tensors in Python, which needs AutoGraph in nested functions too.
    @tf.function
    def augment(image, seed):
        augmented = layer(tf.cast(image, tf.float32))
        return tf.cast(tf.clip_by_value(tf.round(augmented), 0, 255), tf.uint8)

    return augment
