"""Explanations in files: a `.npz` of plain arrays.

    format          int, of this description: 1
    kind            str, the name of the class
    class_names     strings, where there are any
    ...             the arrays by the names of their fields, those that were computed

Nothing is compressed, so that a file takes no more memory than its own size, and nothing in it is
executed.
"""

import math
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from coda_keras.explanation.tensors import Tensors
from coda_keras.utils.files import replacing
from coda_keras.utils.text import listed, short

FORMAT = 1
# Numbers and strings. An array of objects would be pickled.
KINDS = "fiU"


def save(explanation: Tensors, path: str | os.PathLike) -> None:
    """See `Tensors.save`."""
    if Path(path).suffix != ".npz":
        raise ValueError(f"Expected a path that ends in .npz. Received: {path}.")
    arrays = {name: np.asarray(value) for name, value in explanation.numpy().arrays().items()}
    # NumPy has no bfloat16: it would be written as bytes without a meaning.
    arrays = {
        name: value if value.dtype.kind in KINDS else value.astype("float32")
        for name, value in arrays.items()
    }
    contents: dict[str, Any] = {"format": FORMAT, "kind": type(explanation).__name__, **arrays}
    names = getattr(explanation, "class_names", None)
    if names is not None:
        contents["class_names"] = np.array(names, str)
    with replacing(path) as temporary:
        np.savez(temporary, **contents)


def load(kind: type[Tensors], path: str | os.PathLike) -> Any:
    """See `Tensors.load`; `kind` is the class."""
    size = Path(path).stat().st_size
    try:
        with zipfile.ZipFile(path) as file:
            arrays = _arrays(kind, file, size)
    # Headers of arrays that are made up raise a dozen kinds of errors.
    except Exception as error:
        reason = short(error) or type(error).__name__
        raise ValueError(
            f"{path} is no {kind.__name__} as `save` writes it, or damaged: {reason}"
        ) from error
    names = arrays.pop("class_names", None)
    static = {} if names is None else {"class_names": tuple(names.tolist())}
    return kind(**{**dict.fromkeys(kind.axes), **arrays, **static})


def _arrays(kind: type[Tensors], file: zipfile.ZipFile, most: int) -> dict[str, np.ndarray]:
    """The arrays by name, less what says which file this is; ValueError if they do not fit."""
    members = {member.filename.removesuffix(".npy"): member for member in file.infolist()}
    for name, expected in (("kind", kind.__name__), ("format", str(FORMAT))):
        if name not in members:
            raise ValueError(f"it has no {name}.")
        said = str(_array(file, members.pop(name), most))
        if said != expected:
            raise ValueError(f"it has the {name} {short(said)}, expected {expected}.")
    unknown = members.keys() - {"class_names", *kind.axes}
    if unknown or len(members) + 2 < len(file.infolist()):
        raise ValueError(f"it has arrays of other names, or of one name: {listed(unknown)}.")
    arrays = {name: _array(file, member, most) for name, member in members.items()}
    _check_shapes(arrays, {**kind.axes, "class_names": "K"})
    return arrays


def _array(file: zipfile.ZipFile, member: zipfile.ZipInfo, most: int) -> np.ndarray:
    """An array that takes no more memory than the file has bytes, whatever its header says."""
    if member.compress_type != zipfile.ZIP_STORED or member.file_size > most:
        raise ValueError(f"{short(member.filename)} is compressed or incomplete.")
    with file.open(member) as content:
        if np.lib.format.read_magic(content) != (1, 0):
            raise ValueError(f"{short(member.filename)} is no array.")
        shape, _, dtype = np.lib.format.read_array_header_1_0(content)
        size = math.prod(shape) * dtype.itemsize
        if dtype.kind not in KINDS or size != member.file_size - content.tell():
            raise ValueError(f"{short(member.filename)} says {short(shape)} of {short(dtype)}.")
        content.seek(0)
        return np.lib.format.read_array(content, allow_pickle=False)


def _check_shapes(arrays: dict[str, np.ndarray], axes: dict[str, str]) -> None:
    """Raises ValueError unless axes of one letter have one size, and the dtypes and ids fit."""
    sizes: dict[str, int] = {}
    for name, array in arrays.items():
        # Either all have an axis of classes, or none.
        several = array.ndim - len(axes[name]) + 1 if "*" in axes[name] else 0
        letters = axes[name].replace("*", "n" * several)
        shape = {**dict(zip(letters, array.shape)), **({"*": several} if "*" in axes[name] else {})}
        kind = {"class_ids": "i", "class_names": "U"}.get(name, "f")
        if (
            array.dtype.kind != kind
            or array.ndim != len(letters)
            or any(sizes.setdefault(letter, size) != size for letter, size in shape.items())
        ):
            raise ValueError(f"{name} has the shape {array.shape} and dtype {array.dtype}.")
    ids = arrays.get("class_ids")
    if ids is not None and not np.all((ids >= 0) & (ids < sizes.get("K", np.inf))):
        raise ValueError("class_ids has values of no class.")
