"""Whether a servable answers as its net does, every output of every signature."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
from coda_keras_export.servable.loading import Servable
from scipy.special import expit
from tensorflow.core.protobuf import saved_model_pb2

from coda_keras.exporting import signatures
from coda_keras.models.dynamic_linear_net import DynamicLinearNet

Arrays = Mapping[str, np.ndarray]
FORBIDDEN_OPS = {"PyFunc", "PyFuncStateless", "EagerPyFunc"}
# Of the largest magnitude; float32 rounding on a CPU is a hundredth of it.
TOLERANCE = 1e-4


def verify(path: Path, net: DynamicLinearNet, labels: Sequence[str] | None = None) -> None:
    """Loads a version as a server does and compares its answers with what the net itself says.

    Args:
        path: folder of the SavedModel, its warm-up requests included.
        net: the float32 `DynamicLinearNet` it was made of.
        labels: names of the classes it was made with.

    Raises:
        ValueError: if a model server could not run it, it refuses a valid request, or an answer
            is another than the net's.
    """
    _check_graph(path)
    # `_inputs` has two images, which of a large net are more than a server takes at once.
    servable = Servable(path, on_cpu=True, max_batch_size=2)
    servable.warm_up()
    for name, (function, specs) in signatures.signatures(net, labels).items():
        inputs = _inputs(net, [spec.name for spec in specs])
        answer = servable.predict(
            name, {key: tf.make_tensor_proto(value) for key, value in inputs.items()}
        )
        outputs = servable.signatures[name].outputs
        with tf.device("CPU"):
            expected = _expected(net, labels, inputs, answer)
            if set(outputs) - expected.keys():
                # What is said here of an output by its name stands above what its signature says.
                tensors = {key: tf.convert_to_tensor(value) for key, value in inputs.items()}
                said = {key: value.numpy() for key, value in function(**tensors).items()}
                expected = {**said, **expected}
        for output in outputs:
            scale = expected["logits"] if output == "residual" else expected[output]
            _compare(f"{name}.{output}", answer[output], expected[output], scale)


def _inputs(net: DynamicLinearNet, names: Iterable[str]) -> dict[str, np.ndarray]:
    """Two images and a class for each; every class where there are no images."""
    height, width = net.image_size
    pictures = np.random.default_rng(0).integers(0, 256, (2, height, width, 3), "uint8")
    files = [tf.io.encode_png(picture).numpy() for picture in pictures]
    with_images = "images" in names or "image_bytes" in names
    values = {
        "images": pictures.astype("float32") / 255,
        "image_bytes": np.array(files, object),
        "removed": pictures[..., 0] < 64,
        "class_ids": np.arange(2 if with_images else net.classes, dtype="int32") % net.classes,
    }
    return {name: values[name] for name in names}


def _expected(
    net: DynamicLinearNet, labels: Sequence[str] | None, inputs: Arrays, answer: Arrays
) -> dict[str, np.ndarray]:
    """What a signature should answer, by the names of outputs, without its own function."""
    if not {"images", "image_bytes"} & inputs.keys():
        return {"labels": np.array([labels[i].encode() for i in inputs["class_ids"]], object)}
    images = _inputs(net, ["images"])["images"]
    if "removed" in inputs:
        images = np.concatenate([images, 1 - images], axis=-1) * ~inputs["removed"][..., None]
    # Called eagerly: `explain` compiles, and might err as the servable does.
    logits = tf.convert_to_tensor(net(images)).numpy()
    ids = inputs.get("class_ids", _predicted(logits, answer.get("class_ids")))
    explanation = vars(net.explain(images, ids).numpy())
    return {
        **explanation,
        "logits": logits,
        "bias": np.full(len(images), explanation["bias"]),
        "probabilities": expit(logits),
    }


def _predicted(logits: np.ndarray, answered: np.ndarray | None) -> np.ndarray:
    """The most probable classes; of several that rounding alone tells apart, the one answered."""
    best = logits.argmax(axis=-1)
    if answered is None or np.shape(answered) != best.shape:
        return best
    rows = np.arange(len(logits))
    inside = np.clip(answered, 0, logits.shape[-1] - 1)
    lost = logits[rows, best] - logits[rows, inside]
    level = (inside == answered) & (lost <= TOLERANCE * np.abs(logits).max())
    return np.where(level, answered, best).astype("int32")


def _compare(what: str, values: np.ndarray, expected: np.ndarray, scale: np.ndarray) -> None:
    """Numbers to `TOLERANCE` of the largest magnitude in `scale`, all else exactly."""
    expected = np.asarray(expected)
    if values.shape != expected.shape:
        raise _differs(f"{what} has shape {values.shape} instead of {expected.shape}")
    if expected.dtype.kind != "f":
        wrong = values != expected
        if wrong.any():
            raise _differs(f"{what} is {values[wrong][0]!r} instead of {expected[wrong][0]!r}")
        return
    error = np.abs(values - expected).max() / max(np.abs(scale).max(), 1e-6)
    if not error <= TOLERANCE:
        raise _differs(f"{what} differs by {error:.1e} of its magnitude, more than {TOLERANCE:.0e}")


def _differs(how: str) -> ValueError:
    return ValueError(
        f"The servable does not answer as the net does: {how}. Nothing was published."
    )


def _check_graph(path: Path) -> None:
    """Refuses what a model server cannot run: Python functions and XLA-compiled endpoints."""
    saved = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
    graph = saved.meta_graphs[0].graph_def
    functions = graph.library.function
    nodes = [*graph.node, *(node for function in functions for node in function.node_def)]
    python = sorted({node.op for node in nodes} & FORBIDDEN_OPS)
    compiled = any(item.attr["_XlaMustCompile"].b for item in [*nodes, *functions])
    if python or compiled:
        what = ", ".join(python) if python else "an XLA-compiled function (jit_compile=True)"
        raise ValueError(
            f"The net uses {what}, which model servers do not run. Nothing was published."
        )
