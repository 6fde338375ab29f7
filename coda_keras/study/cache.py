"""Partial results on disk, from which an interrupted study goes on.

Each slice of a computation is a file. Its folder is named after the arguments it was computed
under, written beside it: other arguments find another folder, never old numbers. Among them is a
digest of the code that computes it, so that other code computes anew. The number of images is no
such argument: a longer run takes up a shorter one's slices.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from coda_keras.study.code_digests import digest
from coda_keras.utils.files import replacing, write_json
from coda_keras.utils.inflating import DAMAGE
from coda_keras.utils.progress import ProgressBar


def collect(
    folder: Path,
    arguments: dict[str, Any],
    total: int,
    step: int,
    compute: Callable[[int, int], dict[str, Any]],
    label: str,
    unit: str = "image",
) -> dict[str, np.ndarray]:
    """Computes what is missing or damaged of `total` items, a slice at a time.

    Args:
        folder: path; slices lie in a folder beside it that is named after the arguments as well.
        arguments: dict for JSON, everything that the numbers depend on but `total` and `step`.
        total, step: int, number of items, and of items in a slice.
        compute: function `(start, stop)` to a dict of arrays, an item a row.
        label, unit: str, for the progress bar.

    Returns:
        A dict of arrays, `total` rows each.
    """
    folder, slices = place(folder, arguments), []
    with ProgressBar(label, unit, total) as bar:
        for start, stop in bounds(total, step):
            arrays = _read(path(folder, start, stop))
            if arrays is None:
                arrays = compute(start, stop)
                store(folder, arguments, start, stop, arrays)
            slices.append(arrays)
            bar.update(stop - start)
    return {name: np.concatenate([s[name] for s in slices]) for name in slices[0]}


def place(folder: Path, arguments: dict[str, Any]) -> Path:
    """The folder of the slices that are computed under these arguments."""
    return folder.with_name(f"{folder.name}-{digest(arguments)}")


def bounds(total: int, step: int) -> list[tuple[int, int]]:
    """First item of every slice, and the one after its last."""
    return [(start, min(start + step, total)) for start in range(0, total, step)]


def path(folder: Path, start: int, stop: int) -> Path:
    """The file of a slice in the folder that `place` names."""
    return folder / f"{start:06d}-{stop:06d}.npz"


def store(
    folder: Path, arguments: dict[str, Any], start: int, stop: int, arrays: dict[str, Any]
) -> None:
    """Writes a slice that was computed: what fails before leaves no folder."""
    if not (folder / "arguments.json").exists():
        write_json(folder / "arguments.json", arguments)
    with replacing(path(folder, start, stop)) as temporary:
        np.savez_compressed(temporary, **arrays)


def _read(path: Path) -> dict[str, Any] | None:
    """The arrays of a slice; None if there is none, or if it is damaged, which a line says."""
    if not path.exists():
        return None
    try:
        # NumPy leaves a damaged file open.
        with path.open("rb") as file, np.load(file) as arrays:
            return dict(arrays)
    except (*DAMAGE, OSError) as error:
        told = f"{path} is damaged ({type(error).__name__}: {error}); computing it again."
        print(told, file=sys.stderr)
        return None
