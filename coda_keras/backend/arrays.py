"""What the backends' modules share: arrays, Keras' registry of trees, the refusal of strategies."""

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
