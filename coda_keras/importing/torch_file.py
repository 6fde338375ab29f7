"""State dicts in files of `torch.save`, read and written without torch.

Two formats: since torch 1.6 a zip archive with a pickle of tensors and a member for every storage;
before, several pickles in turn and the storages after them.
"""

import io
import math
import os
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from coda_keras.importing import tensor_pickle
from coda_keras.importing.tensor_pickle import Storage, Tensor
from coda_keras.utils.files import replacing
from coda_keras.utils.inflating import check_archive
from coda_keras.utils.text import short

# The first pickles of a file without an archive.
_MAGIC, _VERSION = 0x1950A86A20F9469CFC6C, 1001
# What training scripts keep a state dict under, and what torch puts before the names of a net that
# was trained on several devices.
_INNER, _PREFIX = "state_dict", "module."
_FOLDER = "archive"
# Of a file, and of what it inflates to: three times those of the largest net that is published.
MAX_BYTES = 2**31

Read = Callable[[Storage], np.ndarray]


def read(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Reads a state dict.

    Args:
        path: a file of `torch.save(net.state_dict(), path)`, of any version of torch since 0.4, or
            of a dict that has it under `"state_dict"`.

    Returns:
        Arrays by their names, without the `module.` of nets that were trained on several devices;
        read-only, their memory shared where the tensors' was.

    Raises:
        ValueError: if the file is none of `torch.save`, is cut off, or holds or asks for anything
            but tensors and numbers. Nothing in it is run.
        FileNotFoundError: if there is no such file.
    """
    try:
        state = _read_archive(path) if zipfile.is_zipfile(path) else _read_pickles(path)
    except (
        *(ValueError, EOFError, NotImplementedError, RuntimeError),
        *(zipfile.BadZipFile, zlib.error),
    ) as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ValueError(
            f"{path} cannot be read as a state dict of `torch.save`: {short(reason[0], 200)}"
        ) from error
    return {name.removeprefix(_PREFIX): array for name, array in state.items()}


def write(path: str | os.PathLike, state: Mapping[str, np.ndarray]) -> None:
    """Writes a state dict of float32 tensors that `torch.load` reads, with `weights_only` too.

    Args:
        path: the file to write.
        state: arrays by their names.
    """
    arrays = {name: np.ascontiguousarray(array, "<f4") for name, array in state.items()}
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        pickle = tensor_pickle.dump({name: array.shape for name, array in arrays.items()})
        archive.writestr(f"{_FOLDER}/data.pkl", pickle)
        archive.writestr(f"{_FOLDER}/byteorder", "little")
        for number, array in enumerate(arrays.values()):
            archive.writestr(f"{_FOLDER}/data/{number}", array.tobytes())
        archive.writestr(f"{_FOLDER}/version", "3\n")


def _read_archive(path: str | os.PathLike) -> dict[str, np.ndarray]:
    check_archive(path)
    with zipfile.ZipFile(path) as archive:
        sizes = {member.filename: member.file_size for member in archive.infolist()}
        _check_bytes(sum(sizes.values()))
        pickles = [name for name in sizes if name.endswith("data.pkl") and name.count("/") <= 1]
        if len(pickles) != 1:
            raise ValueError("it is a zip archive without the data.pkl of `torch.save`")
        folder = pickles[0].removesuffix("data.pkl")
        order = f"{folder}byteorder"
        if order in sizes and archive.read(order).strip() != b"little":
            raise ValueError("its numbers are not stored lowest byte first")

        def numbers(storage: Storage) -> np.ndarray:
            name = f"{folder}data/{storage.key}"
            if name not in sizes:
                raise ValueError(f"it lacks the numbers {short(storage.key)!r}")
            return _numbers(archive.read(name), storage)

        return _arrays(tensor_pickle.load(io.BytesIO(archive.read(pickles[0]))), numbers)


def _read_pickles(path: str | os.PathLike) -> dict[str, np.ndarray]:
    _check_bytes(Path(path).stat().st_size)
    content = Path(path).read_bytes()
    if not content.startswith(b"\x80\x02"):
        raise ValueError("it is neither a zip archive nor a pickle, or it is cut off")
    # Not the file itself, which would make room for as many bytes as a pickle says are there.
    with io.BytesIO(content) as file:
        if (tensor_pickle.load(file), tensor_pickle.load(file)) != (_MAGIC, _VERSION):
            raise ValueError("it does not begin as files of `torch.save` do")
        system = tensor_pickle.load(file)
        if not isinstance(system, dict) or system.get("little_endian") is not True:
            raise ValueError("its numbers are not stored lowest byte first")
        state = tensor_pickle.load(file)
        wanted = {tensor.storage.key: tensor.storage for tensor in _state(state).values()}
        keys = tensor_pickle.load(file)
        if not isinstance(keys, list) or not all(
            # A tuple nested by the memo takes exponential time to hash.
            isinstance(key, str) and key in wanted
            for key in keys
        ):
            raise ValueError("it has numbers that belong to no tensor of its state dict")
        found = {wanted[key]: _next_numbers(file, wanted[key]) for key in keys}
    return _arrays(state, lambda storage: _named(found, storage))


def _check_bytes(size: int) -> None:
    if size > MAX_BYTES:
        raise ValueError(f"it has {size} bytes, more than {MAX_BYTES}")


def _next_numbers(file: BinaryIO, storage: Storage) -> np.ndarray:
    count = int.from_bytes(file.read(8), "little")
    if count != storage.size:
        raise ValueError(f"it is cut off, or its numbers {short(storage.key)!r} are not as many")
    return _numbers(file.read(count * np.dtype(storage.dtype).itemsize), storage)


def _named(found: Mapping[Storage, np.ndarray], storage: Storage) -> np.ndarray:
    if storage not in found:
        raise ValueError(f"it lacks the numbers {short(storage.key)!r}")
    return found[storage]


def _numbers(content: bytes, storage: Storage) -> np.ndarray:
    if len(content) != storage.size * np.dtype(storage.dtype).itemsize:
        raise ValueError(f"it is cut off, or its numbers {short(storage.key)!r} are not as many")
    return np.frombuffer(content, storage.dtype)


def _state(value: Any) -> dict[str, Tensor]:
    """The tensors of a state dict by their names."""
    if isinstance(value, dict) and isinstance(value.get(_INNER), dict):
        value = value[_INNER]
    if not isinstance(value, dict) or not value:
        raise ValueError("it holds no state dict")
    for name, tensor in value.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise ValueError(f"its {short(name)!r} is no tensor, so it is no state dict")
    return value


def _arrays(value: Any, numbers: Read) -> dict[str, np.ndarray]:
    read: dict[Storage, np.ndarray] = {}
    arrays = {}
    for name, (storage, offset, shape, strides) in _state(value).items():
        # The last number that the view reaches; a view of more numbers than there are repeats some.
        last = offset + sum((size - 1) * step for size, step in zip(shape, strides))
        count = math.prod(shape)
        if len(shape) != len(strides) or (count and max(count, last + 1) > storage.size):
            raise ValueError(f"its {short(name)!r} reaches beyond its numbers")
        if storage not in read:
            read[storage] = numbers(storage)
        flat = read[storage]
        steps = [step * flat.itemsize for step in strides]
        arrays[name] = (
            np.lib.stride_tricks.as_strided(flat[offset:], shape, steps, writeable=False)
            if count
            else np.zeros(shape, flat.dtype)
        )
    return arrays
