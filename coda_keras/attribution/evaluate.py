"""Compiled evaluations of a model and gradients, on every Keras backend that has them."""

import keras
from keras import ops


def compiled(function, model):
    """Compiles a function of tensors that calls `model`.

    Args:
        function: takes and returns backend tensors.
        model: the built model whose variables `function` reads. Later changes of their values
            are seen.

    Returns:
        A function from NumPy arrays to a NumPy array.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        from coda_keras.tf.differentiation import compiled

        run = compiled(function)
    elif backend == "jax":
        run = _compiled_jax(function, model)
    elif backend == "torch":
        import torch

        run = torch.no_grad()(function)
    else:
        run = function
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


def _compiled_jax(function, model):
    import jax

    variables = model.variables

    # Variables are arguments: captured, their values would be compiled in as constants.
    @jax.jit
    def run(values, *arrays):
        with keras.StatelessScope(state_mapping=list(zip(variables, values))):
            return function(*arrays)

    return lambda *arrays: run([variable.value for variable in variables], *arrays)
