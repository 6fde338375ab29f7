"""The tensors of a request: checked against the signature before anything is allocated."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from coda_keras_export.api import arrays, max_images

from coda_keras.utils.text import listed


def max_batch_size(signature: Any, wanted: int | None = None) -> int | None:
    """Returns how many images a request for a signature may hold.

    Args:
        signature: a `SignatureDef`.
        wanted: integer; None for those of `max_images`.

    Returns:
        An integer; None for a signature without images.
    """
    # Encoded images say nothing of their size, but the maps that come back do.
    tensors = [*signature.inputs.values(), *signature.outputs.values()]
    shapes = [_sizes(info.tensor_shape) for info in tensors]
    most = [max_images(*shape[1:3]) for shape in shapes if len(shape) >= 3]
    return (wanted or min(most)) if most else None


def array(name: str, tensor: Any, expected: Any, most: int | None = None) -> np.ndarray:
    """Reads a `TensorProto`.

    Args:
        name: name of the input.
        tensor: the proto.
        expected: `TensorInfo` of the signature's input.
        most: the largest batch; None for no bound.

    Returns:
        A NumPy array of the dtype and shape that the signature names.

    Raises:
        tf.errors.InvalidArgumentError: if the proto has another dtype or shape, a larger batch, or
            holds another number of values than its shape says. TensorFlow's own reader repeats the
            last value instead, which lets a message of 50 bytes ask for all memory.
    """
    dtype = tf.dtypes.as_dtype(expected.dtype)
    if tensor.dtype != expected.dtype:
        raise invalid(f"Input {name} must be {dtype.name}. Received {_dtype_name(tensor.dtype)}.")
    shape, wanted = _sizes(tensor.tensor_shape), _sizes(expected.tensor_shape)
    if (
        tensor.tensor_shape.unknown_rank
        or len(shape) != len(wanted)
        or any(size < 0 or fixed not in (-1, size) for size, fixed in zip(shape, wanted))
    ):
        raise invalid(
            f"Input {name} must have shape {_text(wanted)}. Received shape {_text(shape)}."
        )
    if most is not None and shape and shape[0] > most:
        raise invalid(f"A request may hold at most {most} images here. Received {shape[0]}.")
    packed = b"" if dtype == tf.string else tensor.tensor_content
    field = arrays.FIELDS.get(expected.dtype)
    values = getattr(tensor, field) if field else []
    count = len(packed) / dtype.size if packed else len(values)
    if count != math.prod(shape):
        raise invalid(
            f"Input {name} holds {count:.12g} values, its shape {_text(shape)} says "
            f"{math.prod(shape)}."
        )
    kind = dtype.as_numpy_dtype
    flat = np.frombuffer(packed, kind) if packed else np.array(values, kind)
    return flat.reshape(shape)


def invalid(message: str) -> tf.errors.InvalidArgumentError:
    """The error that a request ends with which is not as the signature says."""
    return tf.errors.InvalidArgumentError(None, None, message)


def _sizes(shape: Any) -> list[int]:
    return [dim.size for dim in shape.dim]


def _dtype_name(number: int) -> str:
    try:
        return tf.dtypes.as_dtype(number).name
    except TypeError:
        return f"the unknown dtype {number}"


def _text(shape: Sequence[int]) -> str:
    return f"({listed('?' if size == -1 else size for size in shape)})"
