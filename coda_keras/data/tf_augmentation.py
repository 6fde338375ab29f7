"""Augmentation of single RGB images: functions `(uint8 image, seed) -> uint8 image`."""

import functools

import tensorflow as tf

from coda_keras.data.batches import Augment, cropped
from coda_keras.data.numpy_augmentation import GREY


def flip_and_crop(
    padding: int = 4, flip: bool = True, size: int | None = None, mode: str = "constant"
) -> Augment:
    """Random crop after padding, and a horizontal flip for every second image.

    Args:
        padding: int, pixels put on each side before the crop.
        flip: bool.
        size: int, pixels a side of the crop; None for those of the image.
        mode: `"constant"` for zeros around the image, `"reflect"` for its reflection.

    Returns:
        A function `(image, seed) -> image`, `seed` of two integers; its result depends on these
        alone.
    """

    def augment(image, seed):
        height, width = (padding + side + padding for side in image.shape[:2])
        rows, columns = image.shape[:2] if size is None else (size, size)
        # Not `seed + 1` for the second draw: that is the seed of another image.
        crop_seed, flip_seed = tf.unstack(tf.random.experimental.stateless_split(seed, 2))
        corners = tf.constant([height - rows + 1, width - columns + 1], tf.float32)
        corner = tf.cast(tf.random.stateless_uniform((2,), crop_seed) * corners, tf.int32)
        image = cropped(tf, image, tf.unstack(corner), padding, (rows, columns), mode)
        if not flip:
            return image
        coin = tf.random.stateless_uniform((), flip_seed) < 0.5
        return tf.cond(coin, lambda: tf.image.flip_left_right(image), lambda: image)

    return augment


def cutout(size: int) -> Augment:
    """A grey square at a random place, which may reach beyond the image (DeVries & Taylor, 2017).

    Grey, 128 of 255, is as much of a colour as of its opposite in the network's six channels.

    Args:
        size: int, pixels a side of the square.

    Returns:
        A function `(image, seed) -> image`, `seed` of two integers; its result depends on these
        alone.
    """

    def augment(image, seed):
        place = tf.random.stateless_uniform((2,), seed)
        inside = []
        for length, fraction in zip(image.shape[:2], tf.unstack(place)):
            first = tf.cast(fraction * length, tf.int32) - size // 2
            pixels = tf.range(length)
            inside.append((pixels >= first) & (pixels < first + size))
        square = (inside[0][:, None] & inside[1])[..., None]
        return tf.where(square, tf.constant(GREY, tf.uint8), image)

    return augment


def rand_augment(operations: int = 2, magnitude: float = 9) -> Augment:
    """RandAugment (Cubuk et al., 2020) by keras-cv's operations and policy.

    Which operations, and how strong, is drawn here: keras-cv draws from a generator of its own,
    which neither a seed nor a resume brings back.

    Args:
        operations: int, operations applied to an image (n); one of ten each, or none, all equally
            likely.
        magnitude: number from 0 to 30, the scale of the original code (m).

    Returns:
        A function `(image, seed) -> image`, `seed` of two integers; its result depends on these
        alone.
    """
    table = _operations(magnitude / 30)

    def apply(index, images, number):
        layer, draw = table[index]
        return lambda: layer.augment_images(images, draw(number))

    # keras-cv branches on tensors in Python, which needs AutoGraph in nested functions too.
    @tf.function
    def augment(image, seed):
        images = tf.cast(image, tf.float32)[None]
        for own in tf.unstack(tf.random.experimental.stateless_split(seed, operations)):
            which, how = tf.unstack(tf.random.experimental.stateless_split(own, 2))
            chosen = tf.random.stateless_uniform((), which, 0, len(table) + 1, dtype=tf.int32)
            number = tf.random.stateless_uniform((1, 1), how, -1.0, 1.0)
            branches = [apply(index, images, number) for index in range(len(table))]
            images = tf.switch_case(chosen, [*branches, functools.partial(tf.identity, images)])
            images = tf.ensure_shape(images, (1, *image.shape))
        return tf.cast(tf.clip_by_value(tf.round(images[0]), 0, 255), tf.uint8)

    return augment


def _operations(strength):
    """The operations of `keras_cv.layers.RandAugment`, and what they make of a number in [-1, 1].

    Args:
        strength: number from 0 to 1.

    Returns:
        Pairs of a layer and a function from `(1, 1)` to its `transformations`.
    """
    from keras_cv import layers

    options = {"value_range": (0, 255), "dtype": "float32"}

    def constant(value):
        return tf.fill((1, 1, 1, 1), float(value))

    def shear(axis):
        return lambda number: {
            "shear_x": None,
            "shear_y": None,
            f"shear_{axis}": strength * tf.where(number < 0, -1.0, 1.0),
        }

    def translation(axis):
        return lambda number: {
            "width_translations": tf.zeros_like(number),
            "height_translations": tf.zeros_like(number),
            f"{axis}_translations": strength * number,
        }

    solarized = {"additions": 110 * strength, "thresholds": 255 * (1 - strength)}
    contrast = max(strength, 0.001)
    sheared = layers.RandomShear(strength, strength, dtype="float32")
    translated = layers.RandomTranslation(strength, strength, dtype="float32")
    return [
        (layers.AutoContrast(**options), lambda number: None),
        (layers.Equalization(**options), lambda number: None),
        (
            layers.Solarization(**options),
            lambda number: {name: constant(value) for name, value in solarized.items()},
        ),
        (layers.RandomColorDegeneration(strength, dtype="float32"), lambda _: constant(strength)),
        (
            layers.RandomContrast(factor=contrast, **options),
            lambda number: 1.0 + contrast * number[..., None, None],
        ),
        (
            layers.RandomBrightness(strength, **options),
            lambda number: 255.0 * strength * number[..., None, None],
        ),
        (sheared, shear("x")),
        (sheared, shear("y")),
        (translated, translation("width")),
        (translated, translation("height")),
    ]
