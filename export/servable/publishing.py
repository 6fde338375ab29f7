"""How a version appears: complete or not at all, under the next free number, listed before."""

import contextlib
import fcntl
import os
import shutil
import time
from pathlib import Path

from coda_keras_export.api import MAX_VERSION
from coda_keras_export.servable import folder

LEFTOVER_SECONDS = 24 * 3600
# Versions and, by `coda_keras.utils.files`, the files beside the models.
_UNFINISHED = (".tmp-*", f".*.{'[0-9a-f]' * 32}.*")


def remove_leftovers(path: Path) -> None:
    """Removes what packagings that were killed left behind; younger files may still be written."""
    for item in [item for pattern in _UNFINISHED for item in path.glob(pattern)]:
        with contextlib.suppress(OSError):
            if time.time() - item.stat().st_mtime < LEFTOVER_SECONDS:
                continue
            shutil.rmtree(item) if item.is_dir() else item.unlink()


def publish(temporary: Path, base: Path, version: int | None = None) -> Path:
    """Publishes a version once `models.config` lists its model, one packaging at a time.

    Args:
        temporary: its folder, complete, in `base`.
        base: folder of the model.
        version: positive integer; None for the next free one.

    Returns:
        The path of the version.

    Raises:
        OSError: if it cannot be written or renamed; the model is then listed as before.
        ValueError: if no number is free, or `models.config` cannot be parsed.
    """
    _sync(temporary)
    root = base.parent
    with (root / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            folder.write_server_files(root, coming=[base.name])
            return _rename(temporary, base, version)
        except BaseException:
            with contextlib.suppress(OSError, ValueError):
                folder.write_server_files(root)
            raise


def _sync(path: Path) -> None:
    """Brings a folder to disk, so that a renamed version survives a crash complete."""
    for item in [*path.rglob("*"), path]:
        descriptor = os.open(item, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _rename(temporary: Path, base: Path, version: int | None) -> Path:
    while True:
        number = version or max(folder.versions(base), default=0) + 1
        if number > MAX_VERSION:
            raise ValueError(f"{base} has no free version after {MAX_VERSION}.")
        target = base / str(number)
        try:
            return temporary.rename(target)
        except OSError:
            # Somebody else published this number in the meantime.
            if version is not None or not target.exists():
                raise
