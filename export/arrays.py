"""NumPy arrays to `TensorProto` and back, without TensorFlow."""

import math

import numpy as np

STRING = 7
# The API's numbers of dtypes, and where a proto keeps values that are not packed into bytes.
DTYPES = {
    1: np.dtype("float32"),
    2: np.dtype("float64"),
    3: np.dtype("int32"),
    STRING: np.dtype(object),
    9: np.dtype("int64"),
    10: np.dtype(bool),
}
FIELDS = {
    1: "float_val",
    2: "double_val",
    3: "int_val",
    STRING: "string_val",
    9: "int64_val",
    10: "bool_val",
}
_NUMBERS = {dtype: number for number, dtype in DTYPES.items()}


def fill(proto, values):
    """Writes an array into an empty `TensorProto`.

    Args:
        proto: message with the API's fields.
        values: array of float32, float64, int32, int64, bool, or of bytes objects.

    Raises:
        ValueError: for another dtype.
    """
    values = np.asarray(values)
    if values.dtype.kind == "S":
        values = values.astype(object)
    if values.dtype not in _NUMBERS:
        raise ValueError(
            f"Expected an array of {', '.join(str(dtype) for dtype in _NUMBERS)}. "
            f"Received: {values.dtype}."
        )
    proto.dtype = _NUMBERS[values.dtype]
    for size in values.shape:
        proto.tensor_shape.dim.add(size=size)
    if proto.dtype == STRING:
        proto.string_val.extend(values.ravel().tolist())
    else:
        proto.tensor_content = values.tobytes()


def read(proto):
    """Returns the array that a `TensorProto` holds; the last of too few values stands for the rest.

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
