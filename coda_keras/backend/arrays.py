"""What the backends' modules share: results as NumPy arrays, and the refusal of strategies."""

from typing import Any

import numpy as np
from keras import ops

Arrays = np.ndarray | dict[str, np.ndarray]


def to_numpy(results: Any) -> Arrays:
    """Returns a tensor, or a dict of tensors, as NumPy arrays."""
    if isinstance(results, dict):
        return {name: ops.convert_to_numpy(value) for name, value in results.items()}
    return ops.convert_to_numpy(results)


def refuse_strategy(strategy: Any, backend: str) -> None:
    """Raises ValueError if a `tf.distribute.Strategy` was given to another backend."""
    if strategy is not None:
        raise ValueError(
            f"`strategy` needs Keras on TensorFlow. Received one with the backend {backend!r}."
        )
