"""Files: written so that they appear complete or not at all, and JSON read."""

import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from coda_keras.utils.text import listed


@contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """Yields a name beside `path`; what was written there takes its place if the block ends well.

    The file is on disk before it gets its name, so that neither an error nor a crash leaves half
    of it. Missing folders are made. The name keeps the suffix, by which writers know the format.

    Example:

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "new/notes.txt"
    >>> with replacing(path) as temporary:
    ...     written = temporary.write_text("complete")
    >>> path.read_text(), len(list(path.parent.iterdir()))
    ('complete', 1)
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{uuid.uuid4().hex}{path.suffix}")
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def check_folder(path: str | os.PathLike) -> None:
    """Raises NotADirectoryError if a file is in the way of a folder that is to be written."""
    for place in (Path(path), *Path(path).parents):
        if place.exists() and not place.is_dir():
            raise NotADirectoryError(
                f"{place} is a file. Expected a folder, or a new name for one."
            )


def check_file(path: str | os.PathLike) -> None:
    """Raises an OSError if something is in the way of a file that is to be written."""
    if Path(path).is_dir():
        raise IsADirectoryError(f"{path} is a folder. Expected the name of a file.")
    check_folder(Path(path).parent)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Writes `text` as UTF-8 by `replacing`."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | os.PathLike, value: object) -> None:
    """Writes `value` as indented JSON by `replacing`."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def read_json(path: str | os.PathLike, *keys: str) -> dict[str, Any]:
    """Reads a JSON object.

    Args:
        path: of the file.
        *keys: that the object must have.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no JSON, no object, or lacks a key.
    """
    try:
        value = json.loads(Path(path).read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is no JSON, or damaged: {error}.") from error
    if not isinstance(value, dict) or any(key not in value for key in keys):
        wanted = f" with {listed(keys)}" if keys else ""
        found = f"one with {listed(value)}" if isinstance(value, dict) else type(value).__name__
        raise ValueError(f"{path}: expected a JSON object{wanted}. Received {found}.")
    return value
