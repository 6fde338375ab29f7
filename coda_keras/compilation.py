"""Compilation of functions that call a model, on the backends other than TensorFlow."""

import keras


def compiled(function, model):
    """Compiles a function of tensors where the backend can, without tracking gradients.

    TensorFlow compiles in modules of its own: `coda_keras.tf.differentiation` for one device and
    `coda_keras.tf.distribution` for the replicas of a strategy.

    Args:
        function: takes tensors; returns tensors, or a dict of them.
        model: the built model whose variables `function` reads. Later changes of their values
            are seen.

    Returns:
        A function of the same arguments and results.
    """
    backend = keras.backend.backend()
    if backend == "jax":
        return _compiled_jax(function, model)
    if backend == "torch":
        import torch

        return torch.no_grad()(function)
    return function


def _compiled_jax(function, model):
    import jax

    variables = model.variables

    # Variables are arguments: captured, their values would be compiled in as constants.
    @jax.jit
    def run(values, *arrays):
        with keras.StatelessScope(state_mapping=list(zip(variables, values))):
            return function(*arrays)

    return lambda *arrays: run([variable.value for variable in variables], *arrays)
