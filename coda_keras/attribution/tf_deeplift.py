"""DeepLIFT by `shap`, in a process of its own.

The model travels as a frozen graph, so any Keras model can be explained, and a failure of `shap`,
which leaves TensorFlow's gradients broken, dies with its process.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from coda_keras.utils import extras


def rescale_rule(
    model: keras.Model, images: np.ndarray, class_ids: np.ndarray, batch_size: int
) -> np.ndarray:
    """Maps by the rescale rule with baseline zero.

    Args:
        model: Keras model `(B, H, W, C) -> (B, classes)` logits.
        images: `(B, H, W, C)` float32 NumPy array.
        class_ids: `(B, n)` integer NumPy array.
        batch_size: int, how many images the model sees at once, at least 2: shap explains an
            image together with the baseline.

    Returns:
        `(B, n, H, W)`, summed over the channels.

    Raises:
        ModuleNotFoundError: if `shap` is missing.
        ValueError: if `shap` cannot explain the model.
    """
    extras.require("interpret", "shap")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "graph.pb").write_bytes(_frozen(model, images.shape[1:]))
        np.savez(folder / "task.npz", images=images, class_ids=class_ids, batch_size=batch_size)
        finished = subprocess.run(
            [sys.executable, "-m", "coda_keras.attribution.tf_deeplift", name],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        if finished.returncode:
            reason = (finished.stderr.strip().splitlines() or ["no message"])[-1]
            raise ValueError(
                f"shap could not explain {type(model).__name__} by DeepLIFT: {reason}. It knows "
                "nets of convolutions, dense layers, batch normalisation, pooling and activations."
            )
        return np.load(folder / "maps.npy")


def _frozen(model, shape):
    """Serialised graph of the model from tensor "images:0" to "logits:0"."""

    @tf.function(autograph=False)
    def call(images):
        return tf.identity(model(images, training=False), name="logits")

    traced = call.get_concrete_function(tf.TensorSpec((None, *shape), tf.float32, "images"))
    frozen = convert_variables_to_constants_v2(traced)
    return frozen.graph.as_graph_def().SerializeToString()


def _explain(folder):
    """What the process does: reads `_frozen`'s graph and the task, writes the maps."""
    import shap

    task = np.load(folder / "task.npz")
    images, class_ids = task["images"], task["class_ids"]
    batch_size = int(task["batch_size"])
    graph_def = tf.compat.v1.GraphDef.FromString((folder / "graph.pb").read_bytes())
    maps = np.empty((*class_ids.shape, *images.shape[1:3]), "float32")
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        inputs, logits = tf.import_graph_def(
            graph_def, return_elements=["images:0", "logits:0"], name=""
        )
        baseline = np.zeros((1, *images.shape[1:]), "float32")
        for class_id in np.unique(class_ids):
            output = logits[:, class_id : class_id + 1]
            explainer = shap.DeepExplainer((inputs, output), baseline, session=session)
            index, position = np.nonzero(class_ids == class_id)
            for start in range(0, len(index), batch_size):
                chosen = slice(start, start + batch_size)
                batch = images[index[chosen]]
                # shap's own check has an absolute tolerance, which large logits fail by rounding.
                values = explainer.shap_values(batch, check_additivity=False)[..., 0]
                changes = session.run(output, {inputs: batch})[:, 0] - explainer.expected_value[0]
                _check_sums(values, changes)
                maps[index[chosen], position[chosen]] = values.sum(-1)
    np.save(folder / "maps.npy", maps)


def _check_sums(values, changes):
    """Raises a `ValueError` if maps do not sum to the changes of the logits from the baseline."""
    sums, sizes = values.sum((1, 2, 3)), np.abs(values).sum((1, 2, 3))
    # Rounding grows with what cancels in a sum, which may be much more than the change.
    wrong = np.abs(sums - changes) > 0.01 * np.maximum(1, np.abs(changes)) + 1e-5 * sizes
    if wrong.any():
        first = wrong.argmax()
        raise ValueError(
            f"a map sums to {sums[first]:.4g}, but the logit differs by {changes[first]:.4g} from "
            "that of the baseline"
        )


if __name__ == "__main__":
    _explain(Path(sys.argv[1]))
