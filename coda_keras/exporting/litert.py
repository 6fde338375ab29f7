"""LiteRT (TensorFlow Lite) files, of operations that the plain runtime has."""

import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from coda_keras.exporting import saved_model
from coda_keras.exporting.metadata import metadata


def write(net: Any, path: Path, outputs: Sequence[str]) -> None:
    """Writes a net as a .tflite file with the signature `serving_default`.

    A zip at its end, which runtimes skip, holds a text for each part of the metadata.
    """
    with tempfile.TemporaryDirectory() as folder:
        saved_model.write_graph(net, folder, outputs)
        converter = tf.lite.TFLiteConverter.from_saved_model(
            folder, signature_keys=[saved_model.ENDPOINT]
        )
        # Keras' own exporter lets in operations of TensorFlow, which the plain runtime lacks.
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        path.write_bytes(converter.convert())
    with zipfile.ZipFile(path, "a") as archive:
        for name, text in metadata(net).items():
            archive.writestr(f"{name}.json" if name != "net" else name, text)
