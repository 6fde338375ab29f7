"""Patches by `keras.ops`, for backends without compilation and gradients."""

from keras import ops

from coda_keras.backend.arrays import refuse_strategy, to_numpy


def compiled(function, model, strategy=None):
    """Runs a function that calls `model` as it is; see `coda_keras.backend`."""
    refuse_strategy(strategy, "numpy")
    return lambda *arrays: to_numpy(function(*map(ops.convert_to_tensor, arrays)))


def gradient(function, inputs):
    """Raises NotImplementedError."""
    raise NotImplementedError("This Keras backend has no gradients. Use tensorflow, jax or torch.")


def extract_patches(images, size, strides):
    """Patches of `size x size` pixels, ordered row, column, channel; no padding."""
    return ops.image.extract_patches(images, (size, size), (strides, strides), padding="valid")


def accelerators():
    """None are used."""
    return []
