"""Patch extraction by TensorFlow's own operation, as in the paper's Algorithm 1."""

import tensorflow as tf


def extract_patches(images, size, strides, padding):
    """`tf.image.extract_patches` under the signature of `keras.ops.image.extract_patches`."""
    return tf.image.extract_patches(
        images, [1, *size, 1], [1, *strides, 1], rates=[1, 1, 1, 1], padding=padding.upper()
    )
