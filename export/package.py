"""Makes a servable of a trained net: `<out>/<name>/<integer version>/`, for any model server.

    python export/package.py --model runs/digits/model.keras --out servables --name coda

A version appears complete or not at all, and is never overwritten: it is written to a hidden
folder, loaded and run as a server would, and renamed last. Beside the models lie the files the
stock `tensorflow/serving` image needs; docs/serving.md explains them.
"""

import contextlib
import fcntl
import os
import re
import shutil
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from coda_keras_export import cli, folder
from coda_keras_export.servable import LABELS, WARM_UP
from coda_keras_export.verification import verify
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from coda_keras import CoDANet
from coda_keras.exporting import signatures
from coda_keras.models import pretrained as trained
from coda_keras.models.precision import float32_copy

LEFTOVER_SECONDS = 24 * 3600


def package(
    model: keras.Model | str | os.PathLike,
    out: str | os.PathLike,
    name: str,
    version: int | None = None,
    labels: Sequence[str] | None = None,
    image_size: int | tuple[int, int] | None = None,
) -> Path:
    """Writes a servable and the server files beside it.

    Args:
        model: a built `CoDANet`, the path of a `.keras` file with one, or the name of a preset with
            trained weights.
        out: folder of servables.
        name: name of the model: letters, digits, `_`, `-` and `.`.
        version: positive integer; None for the next free one.
        labels: names of the classes in their order; None for the net's own, if it has some.
            Clients get them from the servable's `labels` signature.
        image_size: int or `(height, width)`; None for the net's own.

    Returns:
        The path of the version written.

    Raises:
        ValueError: if an argument does not fit, the version exists, or the servable does not
            answer as the net does, in whichever output of whichever signature.
        OSError: if it cannot be written.
    """
    _check_arguments(name, version, labels)
    out, base = Path(out), Path(out) / name
    if version in folder.versions(base):
        raise ValueError(
            f"{base / str(version)} exists, and versions are never overwritten. "
            "Leave out the version to get the next free one."
        )
    net = float32_copy(_loaded(model), image_size)
    labels = net.class_names if labels is None else labels
    labels = None if labels is None else [str(label) for label in labels]
    base.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(out)
    _remove_leftovers(base)
    temporary = base / f".tmp-{uuid.uuid4().hex}"
    try:
        signatures.save(net, temporary, labels)
        _write_warm_up(temporary, name, net, labels)
        (temporary / folder.BATCHING).write_text(
            folder.batching_params(*net.image_size, net.classes)
        )
        if labels is not None:
            (temporary / LABELS).write_text("".join(f"{label}\n" for label in labels))
        verify(temporary, net, labels)
        _sync(temporary)
        return _publish_listed(temporary, base, version)
    except tf.errors.OpError as error:
        # TensorFlow has errors of its own for a full disk and the like.
        raise OSError(f"No servable in {base}: {cli.sentence(error.message)}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if not any(base.iterdir()):
            base.rmdir()


def _check_arguments(name, version, labels):
    # Names of digits are versions, and beside the models lie the server's files.
    taken = {folder.CONFIG, *folder.SERVER_FILES}
    if (
        not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]*", name)
        or name.isdigit()
        or name.lower() in taken
    ):
        raise ValueError(
            "Expected a model name of letters, digits, '_', '-' and '.', not of digits alone and "
            f"none of {', '.join(sorted(taken))}. Received: {name!r}."
        )
    if version is not None and not 1 <= version <= cli.MAX_VERSION:
        raise ValueError(
            f"`version` must be a positive integer, at most {cli.MAX_VERSION}. "
            f"Received: version={version}."
        )
    for number, label in enumerate(labels or ()):
        if not str(label).strip():
            raise ValueError(f"The label of class {number} is empty. Every class needs a name.")


def _remove_leftovers(path):
    """Removes what packagings that were killed left behind; younger files may still be written."""
    for item in path.glob(".tmp-*"):
        with contextlib.suppress(OSError):
            if time.time() - item.stat().st_mtime < LEFTOVER_SECONDS:
                continue
            shutil.rmtree(item) if item.is_dir() else item.unlink()


def _loaded(model):
    if not isinstance(model, (str, os.PathLike)):
        return model
    if model in trained.cards():
        return CoDANet.from_preset(model)
    path = Path(model)
    if not path.is_file():
        raise ValueError(
            f"There is no model file {path}, and no trained preset of that name: "
            f"{', '.join(trained.cards())}."
        )
    try:
        return keras.saving.load_model(path, compile=False)
    except (ValueError, TypeError, KeyError, OSError) as error:
        raise ValueError(f"{path} does not load as a Keras model: {error}") from error


def _requests(name, net, labels):
    """One small valid request for each signature."""
    height, width = net.image_size
    image = np.full((height, width, 3), 128, "uint8")
    values = {
        "images": image[None].astype("float32") / 255,
        "image_bytes": np.array([tf.io.encode_png(image).numpy()], object),
        "class_ids": np.zeros(1, "int32"),
        "removed": np.zeros((1, height, width), bool),
    }
    for signature_name, (_, specs) in signatures.signatures(net, labels).items():
        request = predict_pb2.PredictRequest()
        request.model_spec.name = name
        request.model_spec.signature_name = signature_name
        for spec in specs:
            request.inputs[spec.name].CopyFrom(tf.make_tensor_proto(values[spec.name], spec.dtype))
        yield request


def _write_warm_up(path, name, net, labels):
    path = path / WARM_UP
    path.parent.mkdir()
    with tf.io.TFRecordWriter(str(path)) as writer:
        for request in _requests(name, net, labels):
            log = prediction_log_pb2.PredictionLog(
                predict_log=prediction_log_pb2.PredictLog(request=request)
            )
            writer.write(log.SerializeToString())


def _sync(path):
    """Brings a folder to disk, so that a renamed version survives a crash complete."""
    for item in [*path.rglob("*"), path]:
        descriptor = os.open(item, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _publish_listed(temporary, base, version):
    """Publishes a version once `models.config` lists its model, one packaging at a time."""
    root = base.parent
    with (root / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            folder.write_server_files(root, coming=[base.name])
            return _publish(temporary, base, version)
        except BaseException:
            with contextlib.suppress(OSError):
                folder.write_server_files(root)
            raise


def _publish(temporary, base, version):
    while True:
        number = version or max(folder.versions(base), default=0) + 1
        if number > cli.MAX_VERSION:
            raise ValueError(f"{base} has no free version after {cli.MAX_VERSION}.")
        target = base / str(number)
        try:
            temporary.rename(target)
        except OSError:
            # Somebody else published this number in the meantime.
            if version is not None or not target.exists():
                raise
        else:
            return target


def main():
    parser = cli.Parser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument(
        "--model", required=True, help="the trained .keras file, or a preset with weights"
    )
    parser.add_argument("--out", required=True, help="folder of servables")
    parser.add_argument("--name", required=True, help="name of the model")
    parser.add_argument(
        "--version",
        type=cli.integer(1, cli.MAX_VERSION),
        help="positive integer; the next free if omitted",
    )
    parser.add_argument("--labels", help="text file with the name of a class in every line")
    parser.add_argument("--image-size", type=int, help="other than the net's own, in pixels")
    arguments = parser.parse_args()
    labels = None
    if arguments.labels:
        labels = Path(arguments.labels).read_text().splitlines()
    path = package(
        arguments.model,
        arguments.out,
        arguments.name,
        arguments.version,
        labels,
        arguments.image_size,
    )
    print(path)


if __name__ == "__main__":
    cli.run(main)
