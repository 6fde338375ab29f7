"""What the backends' modules share: arrays, patches, Keras' registry of trees."""

from typing import Any

import numpy as np
import optree
from keras import ops

Arrays = np.ndarray | dict[str, np.ndarray]


def to_numpy(results: Any) -> Arrays:
    """Returns a tensor, or a dict of tensors, as NumPy arrays."""
    if isinstance(results, dict):
        return {name: ops.convert_to_numpy(value) for name, value in results.items()}
    return ops.convert_to_numpy(results)


def register_in_keras(cls: Any) -> None:
    """Registers a class with `tree_flatten` and `tree_unflatten` for `keras.tree`."""
    optree.register_pytree_node_class(cls, namespace="keras")


def refuse_strategy(strategy: Any, backend: str) -> None:
    """Raises ValueError if a `tf.distribute.Strategy` was given to another backend."""
    if strategy is not None:
        raise ValueError(
            f"`strategy` needs Keras on TensorFlow. Received one with the backend {backend!r}."
        )


def argmax(values: Any, axis: int) -> Any:
    """Where the largest value is, the first among equals, int32."""
    return ops.cast(ops.argmax(values, axis), "int32")


def extract_patches(images: Any, size: int, strides: int) -> Any:
    """Patches of `size x size` pixels, ordered row, column, channel; no padding."""
    return ops.image.extract_patches(images, (size, size), (strides, strides), padding="valid")
