"""Compressed files: what they would inflate to, bounded before they do."""

import os
import zipfile
from pathlib import Path

# Deflate makes a thousandth of what is all the same, and no less than a twentieth of weights or
# pictures worth having.
MAX_EXPANSION = 100
_SMALL = 2**20


def check_size(size: int, stored: int) -> None:
    """Raises ValueError if so many stored bytes should not become as many as `size`.

    Example:

    >>> check_size(2**31, stored=2**21)
    Traceback (most recent call last):
        ...
    ValueError: its 2097152 bytes would inflate to 2147483648, more than 100 times as many
    """
    if size > max(_SMALL, MAX_EXPANSION * stored):
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
