"""What every training recipe leaves behind: accuracy, completeness, pictures, a servable."""

import os
import platform
import sys
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image

from coda_keras import CoDANet, attribution, explain_dataset
from coda_keras.figures import (
    CONTRIBUTION,
    INPUT_X_GRADIENT,
    gallery,
    most_confident,
    save_figure,
)
from coda_keras.files import write_json
from coda_keras.tf.data import test_batches
from export.package import package

PACKAGES = ("tensorflow", "keras", "keras-cv", "tensorflow-datasets", "numpy")


def conclude(args, run, net, data, history, name):
    """Tests the trained net on every test image and writes the results into the run's folder.

    `metrics.json` comes last: it marks the run as finished. A net without an explanation of its
    own gets no servable, and Input×Gradient in its gallery.

    Args:
        args: the parsed flags.
        run: folder of the run.
        net: the trained `CoDANet`, or a classifier to compare with.
        data: `ImageData`.
        history: logs of the epochs.
        name: name of the servable.
    """
    explains = isinstance(net, CoDANet)
    logits, residual = evaluate(net, data)
    accuracy = float(np.mean(np.argmax(logits, axis=-1) == data.test_labels))
    error = float(np.max(np.abs(residual) / np.abs(logits).max(axis=-1))) if explains else None
    save_figure(draw_gallery(net, data, logits), run / "gallery.png")
    save_examples(run / "examples", data)
    servable = package(net, run / "servables", name, labels=data.class_names) if explains else None

    metrics = {
        "test_accuracy": accuracy,
        "test_images": len(logits),
        "note": data.note,
        "completeness_error": error,
        "parameters": net.count_params(),
        "training_seconds": sum(epoch["seconds"] for epoch in history),
        "arguments": {key: _plain(value) for key, value in vars(args).items()},
        "command": " ".join(["python", *sys.argv]),
        "finished": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "versions": {"python": platform.python_version(), **{p: version(p) for p in PACKAGES}},
        "hardware": hardware(),
        "history": history,
    }
    write_json(run / "metrics.json", metrics)

    print(f"test accuracy       {accuracy:.4f} on {len(logits)} images")
    if data.note:
        print(f"                    {data.note}")
    if explains:
        print(f"completeness error  {error:.1e} of the largest logit")
        print(f"servable            {servable}")
    print(f"model               {run / 'model.keras'}")
    print(f"contribution maps   {run / 'gallery.png'}")
    print(f"all numbers         {run / 'metrics.json'}")


def evaluate(net, data):
    """Logits of all test images and, for a `CoDANet`, what their explanations leave over."""
    batches = test_batches(data.test_images, data.test_labels, 250)
    if not isinstance(net, CoDANet):
        return net.predict(batches, verbose=0), None
    parts = [
        (part.logits, part.residual)
        for part in explain_dataset(net, batches, fields=("logits", "residual"))
    ]
    return tuple(np.concatenate(values) for values in zip(*parts))


def draw_gallery(net, data, logits, per_class=2):
    """The most confident correctly classified test images of each class with their maps."""
    chosen = most_confident(logits, data.test_labels, per_class)
    if not len(chosen):
        # A net that has not learned anything yet still shows what it looks at.
        chosen = np.arange(min(len(logits), 8))
    labels = np.argmax(logits[chosen], axis=-1)
    images = data.test_images[chosen].astype("float32") / 255.0
    method, quantity = own_maps(isinstance(net, CoDANet))
    maps = attribution.maps(net, images, labels, method)
    confidence = 1 / (1 + np.exp(-logits[chosen, labels]))
    titles = [f"{data.class_names[label]}, {p:.2f}" for label, p in zip(labels, confidence)]
    return gallery(images, maps, titles, quantity=quantity)


def own_maps(inherent):
    """The method of a net's own maps, and what a colour bar says they show.

    Args:
        inherent: bool, whether the net explains itself; Input×Gradient is the counterpart.
    """
    if inherent:
        return "contributions", CONTRIBUTION
    return "input_x_gradient", INPUT_X_GRADIENT


def save_examples(folder, data):
    """Writes the first test image of each class as PNG, to send to a server."""
    folder.mkdir(exist_ok=True)
    for label, name in enumerate(data.class_names):
        (indices,) = np.nonzero(data.test_labels == label)
        for index in indices[:1]:
            Image.fromarray(data.test_images[index]).save(folder / f"{name}-{index}.png")


def hardware():
    """Describes the machine: processor, logical cores, GPUs."""
    gpus = tf.config.list_physical_devices("GPU")
    details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
    return {
        "processor": _processor(),
        "cores": _cores(),
        "gpus": [detail.get("device_name", "unknown") for detail in details],
    }


def _processor():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _cores():
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count()


def _plain(value):
    return value if isinstance(value, (int, float, str, type(None))) else str(value)
