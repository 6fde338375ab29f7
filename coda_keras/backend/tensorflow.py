"""Graph compilation, replicas, gradients and patches by TensorFlow."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import tensorflow as tf

from coda_keras.backend.arrays import Arrays, register_in_keras, to_numpy


def compiled(
    function: Callable[..., Any], model: Any, strategy: tf.distribute.Strategy | None = None
) -> Callable[..., Arrays]:
    """Compiles a function that calls `model` to a graph; see `coda_keras.backend`.

    Under a strategy every batch is cut into equal parts in order, one for each replica; a batch
    that does not divide is filled up with zeros, whose results are dropped.

    Args:
        function: takes tensors `(B, ...)` and returns a tensor or a dict of tensors. Under a
            strategy each is `(B, ...)` or a scalar equal on all replicas.
        model: the built model whose variables `function` reads. Later changes of their values are
            seen.
        strategy: a `tf.distribute.Strategy` of this process, or None for one device.

    Returns:
        A function of NumPy arrays that returns a NumPy array, or a dict of them.

    Raises:
        ValueError: if `strategy` is no `tf.distribute.Strategy`.
    """
    if strategy is not None and not isinstance(strategy, tf.distribute.Strategy):
        raise ValueError(f"`strategy` must be a tf.distribute.Strategy. Received: {strategy!r}.")
    if strategy is not None and strategy.num_replicas_in_sync > 1:
        return _replicated(function, strategy)
    run = jit(function, model)
    return lambda *arrays: to_numpy(run(*map(tf.convert_to_tensor, arrays)))


def jit(function: Callable[..., Any], model: Any) -> Callable[..., Any]:
    """Compiles a function of tensors to a graph; see `coda_keras.backend`.

    Args:
        function: takes tensors and returns a tensor or a dict of tensors.
        model: the built model whose variables `function` reads. Later changes of their values are
            seen. What is returned does not keep the model alive.

    Returns:
        The function, whose results are differentiable.
    """
    # Sizes that vary between calls are traced only once more.
    return tf.function(function, reduce_retracing=True, autograph=False)


def _replicated(function, strategy):
    replicas = strategy.num_replicas_in_sync

    @tf.function(reduce_retracing=True, autograph=False)
    def run(*arguments):
        return strategy.run(function, arguments)

    def spread(array):
        share = max(1, -(-len(array) // replicas))
        filler = [(0, share * replicas - len(array))] + [(0, 0)] * (array.ndim - 1)
        filled = tf.pad(array, filler)

        def part(context):
            start = context.replica_id_in_sync_group * share
            return filled[start : start + share]

        return strategy.experimental_distribute_values_from_function(part)

    def gather(values, count):
        parts = strategy.experimental_local_results(values)
        if parts[0].shape.rank == 0:
            return parts[0].numpy()
        return tf.concat(parts, axis=0)[:count].numpy()

    def on_all(*arrays):
        results = run(*map(spread, arrays))
        return tf.nest.map_structure(lambda values: gather(values, len(arrays[0])), results)

    return on_all


def gradient(function: Callable[[Any], Any], inputs: Any) -> Any:
    """Gradient of the sum of `function(inputs)`, of the structure of `inputs`."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(inputs)
        outputs = function(inputs)
    return tape.gradient(outputs, inputs, unconnected_gradients=tf.UnconnectedGradients.ZERO)


def argmax(values: Any, axis: int) -> Any:
    """Where the largest value is, the first among equals, int32.

    Keras' own is made of bit operations, which OpenVINO and LiteRT lack.
    """
    return tf.argmax(values, axis, output_type=tf.int32)


def extract_patches(images: Any, size: int, strides: int) -> Any:
    """Patches of `size x size` pixels, ordered row, column, channel; no padding."""
    return tf.image.extract_patches(
        images, [1, size, size, 1], [1, strides, strides, 1], rates=[1, 1, 1, 1], padding="VALID"
    )


def is_known(tensor: Any) -> bool:
    """Whether a tensor has values; not in graphs."""
    return not tf.is_symbolic_tensor(tensor)


def keeping_variables(model: Any) -> AbstractContextManager:
    """Does nothing: Keras leaves models their variables; see `coda_keras.backend`."""
    return nullcontext()


def known_value(tensor: Any) -> np.ndarray | None:
    """A tensor as a NumPy array; None in graphs, where only constants have values."""
    return tf.get_static_value(tf.convert_to_tensor(tensor))


def register_tree(cls: type) -> None:
    """For `keras.tree`; `tf.nest` takes dataclasses by their `__tf_flatten__` as they are."""
    register_in_keras(cls)


def require(condition: Any, message: str, given: Any) -> None:
    """Makes a graph raise `InvalidArgumentError` where `condition` is False; XLA leaves that out.

    Args:
        condition: scalar bool tensor.
        message: what was expected.
        given: tensor shown after the message.
    """
    tf.debugging.Assert(condition, [message, given])


def accelerators() -> list[str]:
    """Names of the GPUs."""
    return [detail.get("device_name", "unknown") for detail in _details_of_gpus()]


def native_bfloat16() -> dict[str, bool]:
    """Names of the GPUs, and whether each multiplies bfloat16: NVIDIA's from 8.0 on."""
    return {
        detail.get("device_name", "unknown"): detail.get("compute_capability", (0, 0)) >= (8, 0)
        for detail in _details_of_gpus()
    }


def _details_of_gpus():
    gpus = tf.config.list_physical_devices("GPU")
    return [tf.config.experimental.get_device_details(gpu) for gpu in gpus]


def use_full_precision() -> None:
    """Computes float32 products in float32: faster formats round where the norms cancel."""
    tf.config.experimental.enable_tensor_float_32_execution(False)


def use_xla(strategy: tf.distribute.Strategy | None = None) -> bool:
    """Whether the steps of `fit`, `evaluate` and `predict` are compiled by XLA: on a single GPU.

    On a CPU oneDNN's convolutions in graph mode are faster, above all their gradients and in
    bfloat16 (docs/speed.md has the timings); XLA's collectives cannot cross devices.

    Args:
        strategy: a `tf.distribute.Strategy`; None for the current one.
    """
    replicas = (strategy or tf.distribute.get_strategy()).num_replicas_in_sync
    return bool(tf.config.list_physical_devices("GPU")) and replicas == 1
