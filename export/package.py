"""Makes a servable of a trained net: `<out>/<name>/<integer version>/`, for any model server.

    coda-keras package --model runs/digits/model.keras --out servables --name coda

A version appears complete or not at all, and is never overwritten: it is written to a hidden
folder, loaded and run as a server would, and renamed last. Beside the models lie the files the
stock `tensorflow/serving` image needs; docs/serving.md explains them.
"""

import os
import re
import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from coda_keras_export.api import MAX_VERSION
from coda_keras_export.servable import folder, publishing

from coda_keras.utils import extras
from coda_keras.utils.command_line import Parser, command, integer
from coda_keras.utils.text import short

if TYPE_CHECKING:
    import keras


# No file of Windows may have these names, whatever follows a dot.
_DEVICES = {"con", "prn", "aux", "nul", *(f"{p}{n}" for p in ("com", "lpt") for n in range(10))}


def package(
    model: "keras.Model | str | os.PathLike",
    out: str | os.PathLike,
    name: str,
    version: int | None = None,
    labels: Sequence[str] | None = None,
    image_size: int | tuple[int, int] | None = None,
) -> Path:
    """Writes a servable and the server files beside it.

    Args:
        model: a built `CoDANet`, `Ensemble` or other `DynamicLinearNet`, the path of a `.keras`
            file with one, or the name of a preset with trained weights.
        out: folder of servables.
        name: name of the model, by which clients ask and which is a folder: up to 100 letters,
            digits, `_`, `-` and `.`.
        version: positive integer; None for the next free one.
        labels: names of the classes in their order; None for the net's own, if it has some.
            Clients get them from the servable's `labels` signature.
        image_size: int or `(height, width)`; None for the net's own.

    Returns:
        The path of the version written.

    Raises:
        ValueError: if an argument does not fit, a weight is not finite, the version exists, the
            `models.config` in `out` cannot be parsed, or the servable does not answer as the net
            does, in whichever output of whichever signature.
        OSError: if it cannot be written.
        ModuleNotFoundError: if the extra `serve` is not installed.
    """
    _check_arguments(name, version, labels)
    extras.require("serve")
    out, base = Path(out), Path(out) / name
    if version in folder.versions(base):
        raise ValueError(
            f"{base / str(version)} exists, and versions are never overwritten. "
            "Leave out the version to get the next free one."
        )
    # Publishing reads it, long after the net is loaded.
    folder.listed_policies(out)
    from coda_keras.models.loading import check_finite, load_model
    from coda_keras.models.precision import float32_copy

    if isinstance(model, (str, os.PathLike)):
        model = load_model(model)
    net = float32_copy(model, image_size)
    check_finite(net)
    labels = net.class_names if labels is None else [str(label) for label in labels]
    base.mkdir(parents=True, exist_ok=True)
    publishing.remove_leftovers(out)
    publishing.remove_leftovers(base)
    temporary = base / f".tmp-{uuid.uuid4().hex}"
    try:
        from coda_keras_export.servable.writing import write

        write(temporary, name, net, labels)
        return publishing.publish(temporary, base, version)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if not any(base.iterdir()):
            base.rmdir()


def _check_arguments(name: str, version: int | None, labels: Sequence[str] | None) -> None:
    # Names of digits are versions, and beside the models lie the server's files.
    taken = {folder.CONFIG, *folder.SERVER_FILES}
    if (
        not re.fullmatch(r"[A-Za-z0-9_]([A-Za-z0-9._-]{0,98}[A-Za-z0-9_-])?", name)
        or name.isdigit()
        or name.lower() in taken
        or name.partition(".")[0].lower() in _DEVICES
    ):
        raise ValueError(
            "Expected a model name of up to 100 letters, digits, '_', '-' and '.', which begins "
            "with none of the last two, does not end with '.', is not of digits alone, no device "
            f"of Windows such as CON, and none of {', '.join(sorted(taken))}. "
            f"Received: {short(name)!r}."
        )
    if version is not None and not 1 <= version <= MAX_VERSION:
        raise ValueError(
            f"`version` must be a positive integer, at most {MAX_VERSION}. "
            f"Received: version={version}."
        )
    for number, label in enumerate(labels or ()):
        if not str(label).strip():
            raise ValueError(f"The label of class {number} is empty. Every class needs a name.")


@command
def main(arguments: Sequence[str] | None = None, prog: str | None = None) -> None:
    parser = Parser(prog=prog, description=__doc__)
    parser.add_argument(
        "--model", required=True, help="the trained .keras file, or a preset with weights"
    )
    parser.add_argument("--out", required=True, help="folder of servables")
    parser.add_argument("--name", required=True, help="name of the model")
    parser.add_argument(
        "--version", type=integer(1, MAX_VERSION), help="positive integer; the next free if omitted"
    )
    parser.add_argument("--labels", help="text file with the name of a class in every line")
    parser.add_argument("--image-size", type=int, help="other than the net's own, in pixels")
    flags = parser.parse_args(arguments)
    labels = Path(flags.labels).read_text("utf-8").splitlines() if flags.labels else None
    print(package(flags.model, flags.out, flags.name, flags.version, labels, flags.image_size))


if __name__ == "__main__":
    main()
