"""Compiled evaluations of a model and gradients, on every Keras backend that has them."""

import keras
from keras import ops

from coda_keras import compilation


def compiled(function, model):
    """Compiles a function of tensors that calls `model`.

    Args:
        function: takes and returns backend tensors.
        model: the built model whose variables `function` reads. Later changes of their values
            are seen.

    Returns:
        A function from NumPy arrays to a NumPy array.
    """
    if keras.backend.backend() == "tensorflow":
        from coda_keras.tf.differentiation import compiled as tensorflow_compiled

        run = tensorflow_compiled(function)
    else:
        run = compilation.compiled(function, model)
    return lambda *arrays: ops.convert_to_numpy(run(*map(ops.convert_to_tensor, arrays)))


def gradient(function, inputs):
    """Gradient of the sum of `function(inputs)`, a tensor of the shape of `inputs`."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        from coda_keras.tf.differentiation import gradient

        return gradient(function, inputs)
    if backend == "jax":
        import jax

        return jax.grad(lambda values: ops.sum(function(values)))(inputs)
    if backend == "torch":
        import torch

        with torch.enable_grad():
            leaf = inputs.detach().requires_grad_(True)
            return torch.autograd.grad(function(leaf).sum(), leaf)[0]
    raise NotImplementedError(
        f"Keras backend {backend!r} has no gradients. Use tensorflow, jax or torch."
    )
