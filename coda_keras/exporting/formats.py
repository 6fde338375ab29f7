"""The formats that a net is exported in, and what each needs."""

import os
import tempfile
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from coda_keras import backend
from coda_keras.utils import extras
from coda_keras.utils.arguments import one_of

# By which a folder is known for a SavedModel.
_GRAPH = "saved_model.pb"


class Format(NamedTuple):
    """A row of `FORMATS`.

    Attributes:
        module: its `write(net, path, outputs)` writes a file.
        suffix: of its path; "" for a folder.
        extra: of the installation that brings what writes and runs it, or None.
        beside: suffixes of files that lie beside it.
    """

    module: str
    suffix: str
    extra: str | None
    beside: tuple[str, ...] = ()


FORMATS = {
    "tf_saved_model": Format("coda_keras.exporting.saved_model", "", None),
    "onnx": Format("coda_keras.exporting.onnx", ".onnx", "onnx"),
    "openvino": Format("coda_keras.exporting.openvino", ".xml", "openvino", (".bin",)),
    "litert": Format("coda_keras.exporting.litert", ".tflite", None),
}


def write(
    net: Any, path: str | os.PathLike, format: str, outputs: Sequence[str] | None = None
) -> None:
    """Writes a net in a format, complete or not at all.

    Args:
        net: a built float32 net with an `image_size`, as `float32_copy` makes it.
        path: what to write; files that are there are replaced.
        format: a name in `FORMATS`.
        outputs: names in `coda_keras.exporting.graph.OUTPUTS`; None for all.

    Raises:
        ValueError: if an argument does not fit, or Keras runs on another backend than TensorFlow.
        ModuleNotFoundError: if the extra of the format is not installed.
        OSError: if it cannot be written.
    """
    if backend.NAME != "tensorflow":
        raise ValueError(
            f"Nets are exported with Keras on TensorFlow; it runs on {backend.NAME}. Save the net, "
            "and run `coda-keras export` with KERAS_BACKEND=tensorflow."
        )
    row = FORMATS[one_of("format", format, list(FORMATS))]
    path = Path(path)
    if row.suffix and path.suffix != row.suffix:
        raise ValueError(
            f"A file of the format {format!r} ends in {row.suffix!r}. Received: {str(path)!r}."
        )
    if path.is_dir() and (row.suffix or not (path / _GRAPH).is_file()) and any(path.iterdir()):
        raise ValueError(f"{path} is a folder with other files. Choose a new name.")
    if row.extra:
        extras.require(row.extra)
    from coda_keras.exporting.graph import OUTPUTS

    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".tmp-", dir=path.parent) as folder:
        import_module(row.module).write(
            net, Path(folder, path.name), OUTPUTS if outputs is None else outputs
        )
        move(Path(folder, path.name), path)


def move(made: Path, path: Path) -> None:
    """Gives a file, with what lies beside it, or a folder another place; replaces what is there.

    Args:
        made: in a temporary folder of its own, into which a folder at `path` goes.
        path: the new place.
    """
    # OpenVINO has two files; the graph, which is opened, comes last.
    files = sorted(made.parent.iterdir(), key=lambda file: file == made)
    # No folder takes the place of another.
    old = path.rename(made.with_name(f"{path.name}.old")) if path.is_dir() else None
    try:
        for file in files:
            file.replace(path.with_name(file.name))
    except BaseException:
        if old:
            old.rename(path)
        raise
