"""NumPy arrays to `TensorProto` and back, without TensorFlow."""

import math
from typing import Any

import numpy as np
from coda_keras_export.api import serving_pb2
from numpy.typing import ArrayLike

# The dtypes of signatures, and where a proto keeps values that are not packed into bytes.
_KINDS = (
    (serving_pb2.DT_FLOAT, "float32", "float_val"),
    (serving_pb2.DT_DOUBLE, "float64", "double_val"),
    (serving_pb2.DT_INT32, "int32", "int_val"),
    (serving_pb2.DT_STRING, "object", "string_val"),
    (serving_pb2.DT_INT64, "int64", "int64_val"),
    (serving_pb2.DT_BOOL, "bool", "bool_val"),
)
DTYPES = {number: np.dtype(name) for number, name, _ in _KINDS}
FIELDS = {number: field for number, _, field in _KINDS}
_NUMBERS = {dtype: number for number, dtype in DTYPES.items()}


def fill(proto: Any, values: ArrayLike) -> None:
    """Writes an array into an empty `TensorProto`.

    Args:
        proto: a `serving_pb2.TensorProto`, or TensorFlow's own.
        values: array of float32, float64, int32, int64, bool, or of bytes objects.

    Raises:
        ValueError: for another dtype.
    """
    array = np.asarray(values)
    if array.dtype.kind == "S":
        array = array.astype(object)
    if array.dtype not in _NUMBERS:
        raise ValueError(
            f"Expected an array of {', '.join(str(dtype) for dtype in _NUMBERS)}. "
            f"Received: {array.dtype}."
        )
    proto.dtype = _NUMBERS[array.dtype]
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    if proto.dtype == serving_pb2.DT_STRING:
        proto.string_val.extend(array.ravel().tolist())
    else:
        proto.tensor_content = array.tobytes()


def read(proto: Any) -> np.ndarray:
    """Returns the array that a `TensorProto` holds; the last of too few values stands for the rest.

    Args:
        proto: a `serving_pb2.TensorProto`, or TensorFlow's own.

    Raises:
        ValueError: for a dtype that no signature of a servable has, or too many values.
    """
    if proto.dtype not in DTYPES:
        raise ValueError(f"Expected a tensor of floats, integers or strings, not {proto.dtype}.")
    dtype, shape = DTYPES[proto.dtype], [dim.size for dim in proto.tensor_shape.dim]
    if proto.tensor_content:
        return np.frombuffer(proto.tensor_content, dtype).reshape(shape).copy()
    values = np.array(getattr(proto, FIELDS[proto.dtype]), dtype)
    missing = math.prod(shape) - len(values)
    if missing > 0 and len(values):
        values = np.concatenate([values, np.repeat(values[-1:], missing)])
    return values.reshape(shape)
