"""Patches by `keras.ops`, for backends without compilation and gradients."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
from keras import ops

from coda_keras.backend.arrays import Arrays, refuse_strategy, register_in_keras, to_numpy
from coda_keras.backend.arrays import argmax as argmax
from coda_keras.backend.arrays import extract_patches as extract_patches


def compiled(
    function: Callable[..., Any], model: Any, strategy: None = None
) -> Callable[..., Arrays]:
    """Runs a function that calls `model` as it is; see `coda_keras.backend`."""
    refuse_strategy(strategy, "numpy")
    return lambda *arrays: to_numpy(function(*map(ops.convert_to_tensor, arrays)))


def jit(function: Callable[..., Any], model: Any) -> Callable[..., Any]:
    """Returns a function of tensors as it is; see `coda_keras.backend`."""
    return function


def gradient(function: Callable[[Any], Any], inputs: Any) -> Any:
    """Raises NotImplementedError."""
    raise NotImplementedError("This Keras backend has no gradients. Use tensorflow, jax or torch.")


def is_known(tensor: Any) -> bool:
    """True: nothing is compiled."""
    return True


def keeping_variables(model: Any) -> AbstractContextManager:
    """Does nothing: Keras leaves models their variables; see `coda_keras.backend`."""
    return nullcontext()


def known_value(tensor: Any) -> np.ndarray | None:
    """A tensor as a NumPy array."""
    return np.asarray(tensor)


def register_tree(cls: type) -> None:
    """For `keras.tree`: a class with `tree_flatten` and `tree_unflatten`."""
    register_in_keras(cls)


def require(condition: Any, message: str, given: Any) -> None:
    """Does nothing: nothing is compiled, all values are known."""


def accelerators() -> list[str]:
    """None are used."""
    return []


def native_bfloat16() -> dict[str, bool]:
    """None are used."""
    return {}


def use_full_precision() -> None:
    """Does nothing: NumPy computes in float32."""


def use_xla(strategy: None = None) -> bool:
    """False: nothing is compiled."""
    return False
