"""Partial results on disk, from which an interrupted study goes on.

Each slice of a computation is a file. Its folder is named after the arguments it was computed
under, written beside it: other arguments find another folder, never old numbers. Among them is a
digest of the code that computes it, so that mended code computes anew. The number of images is no
such argument: a longer run takes up a shorter one's slices.
"""

import ast
import hashlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

import coda_keras
from coda_keras import backend
from coda_keras.utils.files import replacing, write_json

PACKAGE = "coda_keras"


def digest(data: Any) -> str:
    """Returns a short name of bytes, or of anything that JSON can hold."""
    if not isinstance(data, bytes):
        data = json.dumps(data, sort_keys=True).encode()
    return hashlib.sha256(data).hexdigest()[:12]


def code_digest(modules: Iterable[str]) -> str:
    """Returns a short name of the code of modules and of all of this library that they import.

    Comments, docstrings and formatting do not count.

    Args:
        modules: names of modules; those outside of this library are left out.

    Example:

    >>> code_digest(["coda_keras.layers.dau"]) == code_digest(["coda_keras.layers.rescale"])
    False
    """
    # The backend's module is chosen when the library is imported.
    waiting, trees = {*modules, f"{PACKAGE}.backend.{backend.NAME}"}, {}
    while waiting:
        name = waiting.pop()
        source = _source(name)
        if name not in trees and source is not None:
            trees[name] = ast.parse(source.read_text(encoding="utf-8"))
            waiting |= _imports(trees[name])
    return digest([[name, ast.dump(_bare(trees[name]))] for name in sorted(trees)])


def _source(name):
    """The file of a module of this library, None for any other name."""
    path = Path(coda_keras.__file__).parents[1].joinpath(*name.split("."))
    files = path.with_suffix(".py"), path / "__init__.py"
    found = [file for file in files if file.is_file() and name.partition(".")[0] == PACKAGE]
    return found[0] if found else None


def _imports(tree):
    """Names that a module imports, among them all modules."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
            # `from coda_keras import encoding` reads that module, not all of the package.
            found |= {node.module} - {PACKAGE}
    return found


def _bare(tree):
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and _is_docstring(body[0]):
            node.body = body[1:]
    return tree


def _is_docstring(node):
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def collect(
    folder: Path,
    arguments: dict[str, Any],
    total: int,
    step: int,
    compute: Callable[[int, int], dict[str, np.ndarray]],
    label: str,
    unit: str = "img",
) -> dict[str, np.ndarray]:
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
    slices = []
    with tqdm(total=total, desc=label, unit=unit, disable=None, leave=False) as bar:
        for start in range(0, total, step):
            stop = min(start + step, total)
            path = folder / f"{start:06d}-{stop:06d}.npz"
            if not path.exists():
                # Before anything is written: what fails leaves no folder.
                arrays = compute(start, stop)
                if not (folder / "arguments.json").exists():
                    write_json(folder / "arguments.json", arguments)
                with replacing(path) as temporary:
                    np.savez_compressed(temporary, **arrays)
            with np.load(path) as arrays:
                slices.append(dict(arrays))
            bar.update(stop - start)
    return {name: np.concatenate([s[name] for s in slices]) for name in slices[0]}
