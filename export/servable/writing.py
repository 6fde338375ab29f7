"""Writes what a version consists of: SavedModel, warm-up requests, batching, labels; verified."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
from coda_keras_export.servable import folder
from coda_keras_export.servable.loading import LABELS, WARM_UP
from coda_keras_export.servable.verification import verify
from tensorflow_serving.apis import prediction_log_pb2

from coda_keras.exporting import signatures
from coda_keras.models.dynamic_linear_net import DynamicLinearNet
from coda_keras.utils.text import sentence


def write(
    path: Path, name: str, net: DynamicLinearNet, labels: Sequence[str] | None = None
) -> None:
    """Writes a version, loads it as a server does and compares its answers with the net's.

    Args:
        path: folder to write, in that of the model.
        name: of the model, which warm-up requests have.
        net: a float32 `DynamicLinearNet` with an `image_size`.
        labels: names of the classes in their order, or None.

    Raises:
        ValueError: if there is not one label, of its own, for every class, or the servable does
            not answer as the net does, in whichever output of whichever signature.
        OSError: if it cannot be written.
    """
    try:
        signatures.save(net, path, labels)
        _write_warm_up(path / WARM_UP, name, net, labels)
        batching = folder.batching_params(*net.image_size, net.classes)
        (path / folder.BATCHING).write_text(batching, encoding="utf-8")
        if labels is not None:
            lines = "".join(f"{label}\n" for label in labels)
            (path / LABELS).write_text(lines, encoding="utf-8")
        verify(path, net, labels)
    except tf.errors.OpError as error:
        # TensorFlow has errors of its own for a full disk and the like.
        raise OSError(f"No servable in {path.parent}: {sentence(error.message)}") from error


def _write_warm_up(
    path: Path, name: str, net: DynamicLinearNet, labels: Sequence[str] | None
) -> None:
    """One small valid request for each signature."""
    height, width = net.image_size
    image = np.full((height, width, 3), 128, "uint8")
    values = {
        "images": image[None].astype("float32") / 255,
        "image_bytes": np.array([tf.io.encode_png(image).numpy()], object),
        "class_ids": np.zeros(1, "int32"),
        "removed": np.zeros((1, height, width), bool),
    }
    path.parent.mkdir()
    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature_name, (_, specs) in signatures.signatures(net, labels).items():
            log = prediction_log_pb2.PredictionLog()
            request = log.predict_log.request
            request.model_spec.name = name
            request.model_spec.signature_name = signature_name
            for spec in specs:
                proto = tf.make_tensor_proto(values[spec.name], spec.dtype)
                request.inputs[spec.name].CopyFrom(proto)
            writer.write(log.SerializeToString())
