"""Partial results on disk, from which an interrupted run goes on.

Each slice of a computation is a file. Its folder is named after the arguments it was computed
under, written beside it: other arguments find another folder, never old numbers. The number of
grids or images is no such argument, so that a longer run takes up a shorter one's slices.
"""

import hashlib
import json
import os

import numpy as np
from tqdm import tqdm

from coda_keras.files import write_json


def digest(data):
    """Returns a short name of bytes, or of anything that JSON can hold."""
    if not isinstance(data, bytes):
        data = json.dumps(data, sort_keys=True).encode()
    return hashlib.sha256(data).hexdigest()[:12]


def collect(folder, arguments, total, step, compute, label, unit="img"):
    """Computes what is missing of `total` items, a slice at a time.

    Args:
        folder: path; slices lie in a folder beside it that is named after the arguments as well.
        arguments: dict for JSON, everything that the numbers depend on but `total` and `step`.
        total, step: int, number of items, and of items in a slice.
        compute: function `(start, stop)` to a dict of arrays, an item a row.
        label, unit: str, for the progress bar, which appears on terminals.

    Returns:
        A dict of arrays, `total` rows each.
    """
    folder = folder.with_name(f"{folder.name}-{digest(arguments)}")
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "arguments.json").exists():
        write_json(folder / "arguments.json", arguments)
    slices = []
    with tqdm(total=total, desc=label, unit=unit, disable=None, leave=False) as bar:
        for start in range(0, total, step):
            stop = min(start + step, total)
            path = folder / f"{start:06d}-{stop:06d}.npz"
            if not path.exists():
                _save(path, compute(start, stop))
            with np.load(path) as arrays:
                slices.append(dict(arrays))
            bar.update(stop - start)
    return {name: np.concatenate([s[name] for s in slices]) for name in slices[0]}


def _save(path, arrays):
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.npz")
    try:
        np.savez_compressed(temporary, **arrays)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
