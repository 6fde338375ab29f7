"""Compilation, gradients and patches by JAX."""

import jax
import keras
from keras import ops

from coda_keras.backend.arrays import refuse_strategy, to_numpy


def compiled(function, model, strategy=None):
    """Compiles a function that calls `model` by `jax.jit`; see `coda_keras.backend`.

    Args:
        function: takes tensors and returns a tensor or a dict of tensors.
        model: the built model whose variables `function` reads. Later changes of their values are
            seen.
        strategy: None; strategies are TensorFlow's.

    Returns:
        A function of NumPy arrays that returns a NumPy array, or a dict of them.
    """
    refuse_strategy(strategy, "jax")
    variables = model.variables

    # Variables are arguments: captured, their values would be compiled in as constants.
    @jax.jit
    def run(values, *arrays):
        with keras.StatelessScope(state_mapping=list(zip(variables, values))):
            return function(*arrays)

    return lambda *arrays: to_numpy(run([variable.value for variable in variables], *arrays))


def gradient(function, inputs):
    """Gradient of the sum of `function(inputs)`, of the structure of `inputs`."""
    return jax.grad(lambda values: ops.sum(function(values)))(inputs)


def extract_patches(images, size, strides):
    """Patches of `size x size` pixels, ordered row, column, channel; no padding."""
    return ops.image.extract_patches(images, (size, size), (strides, strides), padding="valid")


def accelerators():
    """Names of the GPUs and TPUs."""
    return [device.device_kind for device in jax.devices() if device.platform != "cpu"]
