"""Makes a servable of a trained net: `<out>/<name>/<integer version>/`, for any model server.

    python export/package.py --model runs/digits/model.keras --out servables --name coda

A version appears complete or not at all, and is never overwritten: it is written to a hidden
folder, loaded and run as a server would, and renamed last. Beside the models lie the files the
stock `tensorflow/serving` image needs; docs/serving.md explains them.
"""

import os
import re
import shutil
import sys
import uuid
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import keras
import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from coda_keras.tf import signatures
from export import cli, folder
from export.servable import LABELS, WARM_UP, Servable

FORBIDDEN_OPS = {"PyFunc", "PyFuncStateless", "EagerPyFunc"}
# Of the largest magnitude; float32 rounding on a CPU is a hundredth of it.
TOLERANCE = 1e-4


def package(model, out, name, version=None, labels=None, image_size=None):
    """Writes a servable and the server files beside it.

    Args:
        model: a built `CoDANet`, or the path of a `.keras` file with one.
        out: folder of servables.
        name: name of the model: letters, digits, `_`, `-` and `.`.
        version: positive integer; None for the next free one.
        labels: names of the classes in their order, or None. Clients get them from the
            servable's `labels` signature.
        image_size: int or `(height, width)`; None for the net's own.

    Returns:
        The path of the version written.

    Raises:
        ValueError: if an argument does not fit, the version exists, or the servable does not
            answer as the net does.
    """
    if not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]*", name):
        raise ValueError(
            f"Expected a model name of letters, digits, '_', '-' and '.'. Received: {name!r}."
        )
    if version is not None and version < 1:
        raise ValueError(f"`version` must be a positive integer. Received: version={version}.")
    base = Path(out) / name
    if version in folder.versions(base):
        raise ValueError(
            f"{base / str(version)} exists, and versions are never overwritten. "
            "Leave out the version to get the next free one."
        )
    net = signatures.float32_copy(_loaded(model), image_size)
    base.mkdir(parents=True, exist_ok=True)
    temporary = base / f".tmp-{uuid.uuid4().hex}"
    try:
        signatures.save(net, temporary, labels)
        _write_warm_up(temporary, name, net, labels)
        if labels is not None:
            (temporary / LABELS).write_text("".join(f"{label}\n" for label in labels))
        _verify(temporary, net)
        _sync(temporary)
        published = _publish(temporary, base, version)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if not any(base.iterdir()):
            base.rmdir()
    folder.write_server_files(out)
    return published


def _loaded(model):
    if not isinstance(model, (str, os.PathLike)):
        return model
    path = Path(model)
    if not path.is_file():
        raise ValueError(f"There is no model file {path}.")
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


def _verify(path, net):
    """Loads the version as a server does and compares its answers with the net's own."""
    _check_graph(path)
    servable = Servable(path, on_cpu=True)
    servable.warm_up()
    height, width = net.image_size
    pictures = np.random.default_rng(0).integers(0, 256, (2, height, width, 3), "uint8")
    images = pictures.astype("float32") / 255
    class_ids = np.arange(2, dtype="int32") % net.classes
    encoded = np.array([tf.io.encode_png(picture).numpy() for picture in pictures], object)
    with tf.device("CPU"):
        by_prediction = net.explain(images).numpy()
        by_class = net.explain(images, class_ids).numpy()
    for signature_name, inputs, expected in (
        ("serving_default", {"images": images}, by_prediction),
        ("serving_bytes", {"image_bytes": encoded}, by_prediction),
        ("classify", {"images": images}, by_prediction),
        ("explain", {"images": images, "class_ids": class_ids}, by_class),
    ):
        protos = {key: tf.make_tensor_proto(value) for key, value in inputs.items()}
        outputs = servable.predict(signature_name, protos)
        for output in ("logits", "contribution_map", "contributions"):
            if output in outputs:
                _compare(f"{signature_name}.{output}", outputs[output], getattr(expected, output))


def _compare(what, found, expected):
    scale = max(np.abs(expected).max(), 1e-6)
    error = np.abs(found - expected).max() / scale
    if not error <= TOLERANCE:
        raise ValueError(
            f"The servable does not answer as the net does: {what} differs by {error:.1e} "
            f"of its magnitude, more than {TOLERANCE:.0e}. Nothing was published."
        )


def _check_graph(path):
    """Refuses what a model server cannot run: Python functions and XLA-compiled endpoints."""
    saved = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
    graph = saved.meta_graphs[0].graph_def
    functions = graph.library.function
    nodes = [*graph.node, *(node for function in functions for node in function.node_def)]
    python = sorted({node.op for node in nodes} & FORBIDDEN_OPS)
    compiled = any(
        item.attr["_XlaMustCompile"].b
        for item in [*nodes, *functions]
        if "_XlaMustCompile" in item.attr
    )
    if python or compiled:
        what = ", ".join(python) if python else "an XLA-compiled function (jit_compile=True)"
        raise ValueError(
            f"The net uses {what}, which model servers do not run. Nothing was published."
        )


def _sync(path):
    """Brings a folder to disk, so that a renamed version survives a crash complete."""
    for item in [*path.rglob("*"), path]:
        descriptor = os.open(item, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _publish(temporary, base, version):
    while True:
        number = version or max(folder.versions(base), default=0) + 1
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
    parser = cli.Parser(prog="package.py", description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--model", required=True, help="the trained .keras file")
    parser.add_argument("--out", required=True, help="folder of servables")
    parser.add_argument("--name", required=True, help="name of the model")
    parser.add_argument("--version", type=int, help="positive integer; the next free if omitted")
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
