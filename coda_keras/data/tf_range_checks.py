"""Images in a `tf.data.Dataset`, looked at where the data set is computed: on the host."""

import sys

import tensorflow as tf

from coda_keras.utils.checks import SLACK, check_range


def checked_dataset(dataset: tf.data.Dataset, every: int | None) -> tf.data.Dataset:
    """Returns a data set of the same batches, whose iteration fails as `checked` says.

    Args:
        dataset: of batches `images`, `(images, labels)` or `(images, labels, weights)`.
        every: as for `coda_keras.data.range_checks.checked`.
    """
    spec = dataset.element_spec
    images = spec[0] if isinstance(spec, tuple) and spec else spec
    if not isinstance(images, tf.TensorSpec) or not images.dtype.is_floating:
        return dataset

    def look(number, batch):
        images, rest = (batch[0], batch[1:]) if isinstance(batch, tuple) else (batch, None)
        # Of NaN every comparison is False.
        fits = tf.reduce_all(tf.abs(images - 0.5) <= 0.5 + SLACK)
        fits = tf.cond(number % (every or sys.maxsize) == 0, lambda: fits, lambda: True)
        done = tf.cond(fits, lambda: True, lambda: tf.numpy_function(_refuse, [images], tf.bool))
        with tf.control_dependencies([done]):
            images = tf.identity(images)
        return images if rest is None else (images, *rest)

    return dataset.enumerate().map(look)


def _refuse(images):
    check_range(images)
    return True
