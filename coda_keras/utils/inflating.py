"""Compressed files: what they would inflate to, bounded before they do."""

import os
import zipfile
import zlib
from collections.abc import Container
from pathlib import Path

import numpy as np

from coda_keras.utils.text import short

# Deflate makes a thousandth of what is all the same, and no less than a twentieth of weights or
# pictures worth having.
MAX_EXPANSION = 100
_SMALL = 2**20
# What reading raises of an archive that is cut off or altered.
DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, KeyError, ValueError, NotImplementedError)


def check_size(size: int, stored: int, free: int = _SMALL) -> None:
    """Raises ValueError if so many stored bytes should not become as many as `size`.

    Args:
        size: int, bytes after inflating.
        stored: int, bytes before.
        free: int, a size that is always fine.

    Example:

    >>> check_size(2**31, stored=2**21)
    Traceback (most recent call last):
        ...
    ValueError: its 2097152 bytes would inflate to 2147483648, more than 100 times as many
    """
    if size > max(free, MAX_EXPANSION * stored):
        raise ValueError(
            f"its {stored} bytes would inflate to {size}, more than {MAX_EXPANSION} times as many"
        )


def check_archive(path: str | os.PathLike) -> None:
    """Raises ValueError if the members of a zip archive inflate to absurdly many bytes in all.

    Python reads no more of a member than the size that its entry tells.
    """
    with zipfile.ZipFile(path) as archive:
        size = sum(member.file_size for member in archive.infolist())
    check_size(size, Path(path).stat().st_size)


def read_npz(path: str | os.PathLike, names: Container[str] | None = None) -> dict[str, np.ndarray]:
    """Reads the arrays of an `.npz` file.

    Args:
        path: of the file.
        names: those that are read, where they are there; None for all.

    Raises:
        OSError: if the file cannot be opened.
        ValueError: if it is damaged, would inflate to absurdly many bytes, or has pickled objects.
    """
    try:
        check_archive(path)
        with np.load(path, allow_pickle=False) as members:
            wanted = [name for name in members.files if names is None or name in names]
            found = {name: members[name] for name in wanted}
    except OSError:
        raise
    # Damaged archives and made-up headers raise a dozen kinds of errors.
    except Exception as error:
        reason = short(error, 200) or type(error).__name__
        raise ValueError(f"{path} is no .npz file of arrays, or damaged: {reason}") from error
    # NumPy returns members that are no arrays as bytes.
    return {name: value for name, value in found.items() if isinstance(value, np.ndarray)}
