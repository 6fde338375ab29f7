"""What a `.keras` file says of itself, checked before any of it is inflated or built.

Such a file is a zip archive of a configuration, `config.json`, and of weights, `model.weights.h5`.
"""

import io
import json
import math
import os
import re
import zipfile
from concurrent import futures
from typing import Any, NoReturn

import h5py
import keras

from coda_keras.utils.inflating import check_archive

CONFIG, WEIGHTS = "config.json", "model.weights.h5"
# Some thousand layers.
MAX_CONFIG_BYTES = 2**21
# Weights beside which an optimiser's lie, up to seven of its own for each, and what HDF5 adds.
_COPIES, _OVERHEAD = 8, 2**24


def check(path: str | os.PathLike) -> None:
    """Raises ValueError if a file is no `.keras` file, or says something absurd.

    A small file may inflate to gigabytes, or have a configuration for more weights than any memory
    holds. What is built here has shapes only.

    Raises:
        ValueError: with a reason that begins in lower case and names no file.
    """
    if not zipfile.is_zipfile(path):
        raise ValueError("it is no zip archive, which `.keras` files are, or it is cut off")
    check_archive(path)
    with zipfile.ZipFile(path) as archive:
        sizes = {member.filename: member.file_size for member in archive.infolist()}
        for name in (CONFIG, WEIGHTS):
            if name not in sizes:
                raise ValueError(f"it has no {name}")
        if sizes[CONFIG] > MAX_CONFIG_BYTES:
            raise ValueError(
                f"its {CONFIG} has {sizes[CONFIG]} bytes, and may have {MAX_CONFIG_BYTES} at most"
            )
        needed = _weight_bytes(_config(archive.read(CONFIG)))
        size = sizes[WEIGHTS]
        if not needed <= size <= _COPIES * needed + _OVERHEAD:
            raise ValueError(
                f"its {CONFIG} is that of a model with {needed} bytes of weights, its {WEIGHTS} "
                f"has {size}"
            )
        _check_datasets(archive.read(WEIGHTS))


def _config(text: bytes) -> Any:
    def refuse(number: str) -> NoReturn:
        raise ValueError(f"its {CONFIG} has the number {number}, which is not finite")

    def finite(number: str) -> float:
        return float(number) if math.isfinite(float(number)) else refuse(number)

    try:
        return json.loads(text, parse_float=finite, parse_constant=refuse)
    except json.JSONDecodeError as error:
        raise ValueError(f"its {CONFIG} is no JSON: {error}") from error
    except RecursionError as error:
        raise ValueError(f"its {CONFIG} is nested too deeply") from error


def _weight_bytes(config: Any) -> int:
    """Bytes of the weights of a model, of which none is made."""
    if isinstance(config, dict):
        config = {key: value for key, value in config.items() if key != "compile_config"}

    def build() -> int:
        with keras.StatelessScope(initialize_variables=False):
            model = keras.saving.deserialize_keras_object(config)
            return sum(
                math.prod(weight.shape) * _itemsize(weight.dtype) for weight in model.weights
            )

    # Keras keeps weights to be made later by thread: here they are forgotten with it.
    with futures.ThreadPoolExecutor(1) as thread:
        return thread.submit(build).result()


def _itemsize(dtype: str) -> int:
    bits = re.search("[0-9]+", dtype)
    return max(1, int(bits[0]) // 8) if bits else 1


def _check_datasets(weights: bytes) -> None:
    """Arrays of HDF5 may be compressed too, or have a shape and no bytes."""
    total = 0

    def add(_: str, item: Any) -> None:
        nonlocal total
        if isinstance(item, h5py.Dataset):
            total += math.prod(item.shape) * item.dtype.itemsize

    with h5py.File(io.BytesIO(weights)) as file:
        file.visititems(add)
    if total > len(weights):
        raise ValueError(f"its {WEIGHTS} has {len(weights)} bytes for arrays of {total}")
