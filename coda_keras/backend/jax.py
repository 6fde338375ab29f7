"""Compilation, gradients and patches by JAX."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import jax
import jax.core
import keras
import numpy as np
from keras import ops

from coda_keras.backend.arrays import Arrays, refuse_strategy, register_in_keras, to_numpy
from coda_keras.backend.arrays import argmax as argmax
from coda_keras.backend.arrays import extract_patches as extract_patches


def compiled(
    function: Callable[..., Any], model: Any, strategy: None = None
) -> Callable[..., Arrays]:
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
    run = jit(function, model)
    return lambda *arrays: to_numpy(run(*arrays))


def jit(function: Callable[..., Any], model: Any) -> Callable[..., Any]:
    """Compiles a function of tensors by `jax.jit`; see `coda_keras.backend`.

    Args:
        function: takes tensors and returns a tensor or a dict of tensors.
        model: the built model whose variables `function` reads. Later changes of their values are
            seen. What is returned does not keep the model alive.

    Returns:
        The function.
    """
    variables = model.variables

    # Variables are arguments: captured, their values would be compiled in as constants.
    @jax.jit
    def run(values, *arrays):
        with keras.StatelessScope(state_mapping=list(zip(variables, values))):
            return function(*arrays)

    return lambda *arrays: run([variable.value for variable in variables], *arrays)


def gradient(function: Callable[[Any], Any], inputs: Any) -> Any:
    """Gradient of the sum of `function(inputs)`, of the structure of `inputs`."""
    return jax.grad(lambda values: ops.sum(function(values)))(inputs)


def is_known(tensor: Any) -> bool:
    """Whether a tensor has values; not while a function is traced."""
    return not isinstance(tensor, jax.core.Tracer)


@contextmanager
def keeping_variables(model: Any) -> Iterator[None]:
    """Gives a model its variables back after an error in `fit`, `evaluate` or `predict`.

    Keras takes them away while it computes, and does not give them back if the data raises.
    """
    optimizer = getattr(model, "optimizer", None)
    variables = [*model.variables, *model.metrics_variables]
    variables += optimizer.variables if optimizer else []
    values = [variable.value for variable in variables]
    try:
        yield
    except BaseException:
        # Those of the last step, if there was one.
        model.jax_state_sync()
        for variable, value in zip(variables, values):
            if variable._value is None:
                variable.assign(value)
        raise


def known_value(tensor: Any) -> np.ndarray | None:
    """A tensor as a NumPy array; None while a function is traced, when there are no values yet."""
    return np.asarray(tensor) if is_known(tensor) else None


def register_tree(cls: type) -> None:
    """For `jax.jit` and `keras.tree`: a class with `tree_flatten` and `tree_unflatten`."""
    jax.tree_util.register_pytree_node_class(cls)
    register_in_keras(cls)


def require(condition: Any, message: str, given: Any) -> None:
    """Does nothing: code compiled by JAX cannot raise errors."""


def accelerators() -> list[str]:
    """Names of the GPUs and TPUs."""
    return [device.device_kind for device in _accelerators()]


def native_bfloat16() -> dict[str, bool]:
    """Names of the GPUs and TPUs, and whether each multiplies bfloat16: NVIDIA's from 8.0 on."""
    return {device.device_kind: _multiplies_bfloat16(device) for device in _accelerators()}


def _accelerators():
    return [device for device in jax.devices() if device.platform != "cpu"]


def _multiplies_bfloat16(device):
    # "8.0" on NVIDIA's GPUs, "gfx90a" on AMD's.
    capability = str(getattr(device, "compute_capability", ""))
    return device.platform == "tpu" or bool(re.fullmatch(r"([89]|\d\d)\.\d+", capability))


def use_full_precision() -> None:
    """Computes float32 products in float32: faster formats round where the norms cancel."""
    jax.config.update("jax_default_matmul_precision", "float32")


def use_xla(strategy: None = None) -> bool:
    """True: JAX has no other compiler."""
    return True
