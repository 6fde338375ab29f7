"""Gradients and patches by torch, which runs functions as they are."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from keras import ops
from torch.utils import _pytree

from coda_keras.backend.arrays import Arrays, refuse_strategy, to_numpy
from coda_keras.backend.arrays import argmax as argmax
from coda_keras.backend.arrays import extract_patches as extract_patches
from coda_keras.backend.value_checks import unchecked


def compiled(
    function: Callable[..., Any], model: Any, strategy: None = None
) -> Callable[..., Arrays]:
    """Wraps a function that calls `model`, tracking no gradients; see `coda_keras.backend`.

    Args:
        function: takes tensors and returns a tensor or a dict of tensors.
        model: the model that `function` calls.
        strategy: None; strategies are TensorFlow's.

    Returns:
        A function of NumPy arrays that returns a NumPy array, or a dict of them.
    """
    refuse_strategy(strategy, "torch")
    run = torch.no_grad()(function)

    def on_tensors(*arrays):
        # As compiled code elsewhere, which sees no values.
        with unchecked():
            return to_numpy(run(*map(ops.convert_to_tensor, arrays)))

    return on_tensors


def jit(function: Callable[..., Any], model: Any) -> Callable[..., Any]:
    """Returns a function of tensors as it is; see `coda_keras.backend`."""
    return function


def gradient(function: Callable[[Any], Any], inputs: Any) -> Any:
    """Gradient of the sum of `function(inputs)`, of the structure of `inputs`."""
    single = not isinstance(inputs, (list, tuple))
    with torch.enable_grad():
        tensors = [inputs] if single else inputs
        leaves = [tensor.detach().requires_grad_(True) for tensor in tensors]
        outputs = function(leaves[0] if single else leaves)
        gradients = torch.autograd.grad(
            outputs.sum(), leaves, allow_unused=True, materialize_grads=True
        )
    return gradients[0] if single else list(gradients)


def is_known(tensor: Any) -> bool:
    """Whether a tensor has values; not while a function is compiled, nor where only shapes are."""
    return not torch.compiler.is_compiling() and not getattr(tensor, "is_meta", False)


def keeping_variables(model: Any) -> AbstractContextManager:
    """Does nothing: Keras leaves models their variables; see `coda_keras.backend`."""
    return nullcontext()


def known_value(tensor: Any) -> np.ndarray | None:
    """A tensor as a NumPy array; None while a function is compiled, when there are no values."""
    return ops.convert_to_numpy(tensor) if is_known(tensor) else None


def register_tree(cls: Any) -> None:
    """For `torch.compile` and `keras.tree`: a class with `tree_flatten` and `tree_unflatten`."""
    _pytree.register_pytree_node(
        cls, cls.tree_flatten, lambda arrays, others: cls.tree_unflatten(others, arrays)
    )


def require(condition: Any, message: str, given: Any) -> None:
    """Does nothing: code compiled by torch is not checked."""


def accelerators() -> list[str]:
    """Names of the GPUs."""
    return [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]


def native_bfloat16() -> dict[str, bool]:
    """Names of the GPUs, and whether each multiplies bfloat16: NVIDIA's from 8.0 on."""
    return {
        torch.cuda.get_device_name(index): torch.cuda.get_device_capability(index) >= (8, 0)
        for index in range(torch.cuda.device_count())
    }


def use_full_precision() -> None:
    """Computes float32 products in float32: faster formats round where the norms cancel."""
    torch.set_float32_matmul_precision("highest")


def use_xla(strategy: None = None) -> bool:
    """False: torch runs steps as they are, which needs no compiler."""
    return False
