"""Sends images to a served net, prints the classes and saves the contribution maps as PNG.

    coda-keras ask --server localhost:8500 --model coda cat.png photographs/

Each picture shows the image, its contribution map and the weights of the class as colours. An image
that cannot be read, or has another size than the model takes, is reported in one line. The others
are asked for, and the exit code is 1. docs/guides/client.md shows the same in twenty lines.
"""

from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from coda_keras_export.api import MAX_VERSION, connection
from coda_keras_export.api.connection import Client, tensor_shape
from coda_keras_export.api.serving_pb2 import SignatureDef
from coda_keras_export.images import find_images, output_paths, read_images
from PIL import Image

from coda_keras.utils.command_line import Failures, Parser, command, integer
from coda_keras.utils.text import listed

MAX_INT32 = 2**31 - 1


def class_labels(
    client: Client,
    signatures: Mapping[str, SignatureDef],
    classes: int,
    path: str | Path | None = None,
) -> list[str]:
    """Returns the names of the classes: from a file, from the servable, or their numbers."""
    if path is not None:
        labels = Path(path).read_text("utf-8").splitlines()
        if len(labels) != classes:
            raise ValueError(f"{path} has {len(labels)} lines, the model has {classes} classes.")
        return labels
    if "labels" not in signatures:
        return [str(number) for number in range(classes)]
    answer = client.predict("labels", {"class_ids": np.arange(classes, dtype="int32")})
    return [label.decode() for label in answer["labels"]]


def ask(
    client: Client,
    image: Image.Image,
    encoded: bytes,
    class_id: int | None = None,
    weights: bool = True,
) -> tuple[dict[str, np.ndarray], int]:
    """Asks for an explanation.

    Args:
        client: a connection.
        image, encoded: as `open_image` returns them.
        class_id: the class to explain; None for the predicted one.
        weights: bool, whether to ask for the weights too.

    Returns:
        `(outputs, class id)`: `logits`, `contribution_map`, and `weights` if asked for.
    """
    outputs, missing = {}, ["logits", "contribution_map"]
    if class_id is None:
        outputs = client.predict("serving_bytes", {"image_bytes": np.array([encoded], object)})
        class_id, missing = int(outputs["class_ids"][0]), []
    missing += ["weights"] * weights
    if missing:
        images = np.asarray(image, "float32")[None] / 255
        inputs = {"images": images, "class_ids": np.array([class_id], "int32")}
        outputs |= client.predict("explain", inputs, missing)
    return outputs, class_id


def save_map(path: Path, image: Image.Image, outputs: dict[str, np.ndarray], title: str) -> None:
    """Saves the image beside its contribution map, and the weights where there are any."""
    from coda_keras import figures

    weights = outputs["weights"][0] if "weights" in outputs else None
    figure = figures.plot_contributions(
        np.asarray(image), outputs["contribution_map"][0], title, weights=weights
    )
    figures.save_figure(figure, path)


@command
def main(arguments: Sequence[str] | None = None, prog: str | None = None) -> None:
    flags = _parse(arguments, prog)
    failures = Failures(prog)
    files = find_images(flags.images, failures.tell)
    paths = output_paths(Path(flags.out), files, flags.overwrite)
    with connection.connect(flags, flags.version) as client:
        signatures = client.signatures()
        _, height, width, _ = tensor_shape(signatures, "serving_default", "inputs", "images")
        _, classes = tensor_shape(signatures, "serving_default", "outputs", "logits")
        tensor_shape(signatures, "explain", "outputs", "contribution_map")
        # Servables packaged by earlier versions tell no weights.
        weights = "weights" in signatures["explain"].outputs
        labels = class_labels(client, signatures, classes, flags.labels)
        class_id = _class_id(flags, labels)
        for number, image, encoded in read_images(
            files, height, width, flags.resize, failures.tell
        ):
            outputs, explained = ask(client, image, encoded, class_id, weights)
            logits = outputs["logits"][0]
            name = labels[explained]
            save_map(paths[number], image, outputs, f"{name}\nlogit {logits[explained]:.2f}")
            best = _best(logits, labels, flags.top)
            print(f"{files[number]}: {best}; why {name}: {paths[number]}", flush=True)
    failures.end()


def _parse(arguments: Sequence[str] | None, prog: str | None) -> Namespace:
    parser = Parser(prog=prog, description=__doc__)
    parser.add_argument("images", nargs="+", help="image files, and folders of them")
    parser.add_argument("--server", default="localhost:8500", help="host:port (%(default)s)")
    parser.add_argument("--model", required=True, help="name of the served model")
    parser.add_argument(
        "--version",
        type=integer(0, MAX_VERSION),
        help="version of the model; the latest if omitted",
    )
    parser.add_argument(
        "--out", default="contribution_maps", help="folder for PNG files (%(default)s)"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace PNG files of the same name in --out"
    )
    parser.add_argument(
        "--top", type=integer(1, MAX_INT32), default=3, help="classes to print (%(default)s)"
    )
    parser.add_argument(
        "--labels",
        help="text file with the name of a class in every line; otherwise the servable's own",
    )
    parser.add_argument("--resize", action="store_true", help="crop and resize images to fit")
    connection.add_flags(parser)
    explained = parser.add_mutually_exclusive_group()
    explained.add_argument(
        "--class-id", type=integer(0, MAX_INT32), help="class to explain instead of the predicted"
    )
    explained.add_argument("--class-name", help="the same by its name")
    return parser.parse_args(arguments)


def _class_id(flags: Namespace, labels: list[str]) -> int | None:
    if flags.class_name is None:
        return flags.class_id
    if flags.class_name not in labels:
        raise ValueError(
            f"There is no class {flags.class_name!r}. The model has: {listed(labels)}."
        )
    return labels.index(flags.class_name)


def _best(logits: np.ndarray, labels: list[str], count: int) -> str:
    order = np.argsort(-logits)[:count]
    # Sigmoids, without overflow and without SciPy, which takes long to import.
    probabilities = np.exp(-np.logaddexp(0, -logits.astype("float64")))
    return ", ".join(
        f"{labels[index]} {probabilities[index]:.3f} (logit {logits[index]:.2f})" for index in order
    )


if __name__ == "__main__":
    main()
