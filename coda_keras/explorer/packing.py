"""Arrays as bytes that a browser reads: a JSON header, then typed arrays, compressed by gzip.

    bytes 0-3     "CODA"
    bytes 4-7     n, length of the header, uint32, little-endian; 8 + n is a multiple of 8
    header        JSON: {name: {"dtype", "shape", "offset"[, "scale"]}}, offsets from its end
    arrays        little-endian, each beginning at a multiple of 8

Values of arrays with a scale are whole numbers times that scale, one for each entry of the first
axis, or a single one.
"""

import gzip
import json
import struct
import zlib
from collections.abc import Mapping

import numpy as np

MAGIC = b"CODA"
# Of what is unpacked; gzip makes a thousandth of what is all the same.
MAX_BYTES = 2**28
DTYPES = ("float32", "float16", "int32", "int16", "int8", "uint8")


class Quantised:
    """An array as integers of 8 or 16 bits times scales.

    Args:
        values: floats `(...)` or `(n, ...)`.
        dtype: `"int8"` or `"int16"`; the error of a value is at most half a step, which is the
            largest magnitude over 127 or 32767.
        each: bool, whether each entry of the first axis has a scale of its own.
    """

    def __init__(self, values: np.ndarray, dtype: str, each: bool = False) -> None:
        values = np.asarray(values, "float64")
        rows = values.reshape(len(values) if each else 1, -1)
        steps = np.abs(rows).max(axis=1, initial=0) / np.iinfo(dtype).max
        self.scale = np.where(steps > 0, steps, 1.0).astype("float32")
        self.integers = np.rint(rows / self.scale[:, None]).reshape(values.shape).astype(dtype)
        self.error = float(steps.max() / 2)


def pack(arrays: Mapping[str, np.ndarray | Quantised]) -> bytes:
    """Writes named arrays of float32, float16, int32, int16, int8 or uint8 as bytes.

    Example:

    >>> unpack(pack({"map": np.float32([[1, 2]])}))["map"].tolist()
    [[1.0, 2.0]]
    """
    header, parts, offset = {}, [], 0
    for name, array in arrays.items():
        entry = {}
        if isinstance(array, Quantised):
            entry["scale"] = array.scale.tolist()
            array = array.integers
        array = np.ascontiguousarray(array)
        entry |= {"dtype": array.dtype.name, "shape": list(array.shape), "offset": offset}
        data = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
        parts.append(data + bytes(-len(data) % 8))
        offset += len(parts[-1])
        header[name] = entry
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    whole = MAGIC + struct.pack("<I", len(text)) + text + b"".join(parts)
    return gzip.compress(whole, compresslevel=6, mtime=0)


def unpack(data: bytes) -> dict[str, np.ndarray]:
    """Reads what `pack` wrote; quantised arrays come as float32.

    Raises:
        ValueError: if the bytes are none of `pack`, or inflate to more than `MAX_BYTES`.
    """
    try:
        gzipped = zlib.decompressobj(wbits=31)
        whole = gzipped.decompress(data, MAX_BYTES)
        if not gzipped.eof:
            raise ValueError(f"they are cut off, or inflate to more than {MAX_BYTES} bytes")
        (length,) = struct.unpack("<I", whole[4:8])
        if whole[:4] != MAGIC:
            raise ValueError("no magic bytes")
        header = json.loads(whole[8 : 8 + length])
        return {name: _array(entry, whole, 8 + length) for name, entry in header.items()}
    except (ValueError, KeyError, TypeError, OverflowError, struct.error, zlib.error) as error:
        raise ValueError(f"Expected packed arrays. Received other bytes: {error}.") from error


def _array(entry, whole, start):
    if entry["dtype"] not in DTYPES:
        raise ValueError(f"dtype {entry['dtype']}")
    dtype = np.dtype(entry["dtype"]).newbyteorder("<")
    count = int(np.prod(entry["shape"]))
    array = np.frombuffer(whole, dtype, count, start + entry["offset"]).reshape(entry["shape"])
    if "scale" not in entry:
        return array
    scale = np.float32(entry["scale"]).reshape(-1, *[1] * (array.ndim - 1))
    return array.astype("float32") * scale
