"""What the backends' modules share: results as NumPy arrays, and the refusal of strategies."""

from keras import ops


def to_numpy(results):
    """Returns a tensor, or a dict of tensors, as NumPy arrays."""
    if isinstance(results, dict):
        return {name: ops.convert_to_numpy(value) for name, value in results.items()}
    return ops.convert_to_numpy(results)


def refuse_strategy(strategy, backend):
    """Raises ValueError if a `tf.distribute.Strategy` was given to another backend."""
    if strategy is not None:
        raise ValueError(
            f"`strategy` needs Keras on TensorFlow. Received one with the backend {backend!r}."
        )
