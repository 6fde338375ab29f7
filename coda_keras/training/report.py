"""What every run leaves behind: accuracy, completeness, pictures, a servable."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from coda_keras import attribution, backend, explorer
from coda_keras.attribution.contributions import own_method
from coda_keras.data.images import ImageData
from coda_keras.evaluation import most_confident, note_of_missing, probabilities
from coda_keras.explanation.dataset import explain_dataset
from coda_keras.explanation.display import net_view
from coda_keras.explanation.in_page import small_network
from coda_keras.figures import gallery, save_figure
from coda_keras.models.coda_net import CoDANet
from coda_keras.training.scores import FEW_CLASSES, FIELDS, accuracies_of, evaluate
from coda_keras.training.settings import Settings
from coda_keras.utils import provenance
from coda_keras.utils.files import replacing, write_json

# From a net, the folder and the names of the classes to the path of a servable.
Package = Callable[[CoDANet, Path, list[str]], Path]

# Images explained at once for the gallery.
GALLERY_BATCH = 32
# Test images in the explorer, and what their arrays may take before compression.
EXPLORED, EXPLORER_BYTES = 20, 16 * 2**20
# What the weights of a net may take that goes into that page, so that it takes pixels away.
EXPLORER_NET_BYTES = 8 * 2**20


def conclude(
    settings: Settings,
    net: keras.Model,
    data: ImageData,
    history: Sequence[dict[str, float]],
    package: Package | None = None,
) -> dict[str, Any]:
    """Tests the trained net on every test image and writes the results into the run's folder.

    `metrics.json` comes last: it marks the run as finished. A net without an explanation of its own
    gets no servable, and Input×Gradient in its gallery.

    Args:
        settings: of the run.
        net: the trained `CoDANet`, or a classifier to compare with.
        data: `ImageData`.
        history: logs of the epochs.
        package: function `(net, folder, class names) -> path` that makes a servable of a
            `CoDANet`; None for no servable.

    Returns:
        What `metrics.json` holds.
    """
    run = settings.folder
    logits, error = evaluate(net, data)
    accuracies = accuracies_of(logits, data)
    save_figure(draw_gallery(net, data, logits), run / "gallery.png")
    save_examples(run / "examples", data)
    if isinstance(net, CoDANet):
        write_explorer(run / "explorer.html", net, data)
    servable = None
    if package and isinstance(net, CoDANet) and backend.NAME == "tensorflow":
        servable = package(net, run / "servables", data.class_names)

    metrics = {
        **accuracies,
        "test_images": len(logits),
        "note": data.note,
        "completeness_error": error,
        "parameters": net.count_params(),
        "training_seconds": sum(epoch["seconds"] for epoch in history),
        **provenance.record(settings.as_dict()),
        "history": history,
    }
    write_json(run / "metrics.json", metrics)

    print(f"test accuracy       {accuracies['test_accuracy']:.4f} on {len(logits)} images")
    if "test_top5_accuracy" in accuracies:
        print(f"                    {accuracies['test_top5_accuracy']:.4f} among the first five")
    if data.note:
        print(f"                    {data.note}")
    if error is not None:
        print(f"completeness error  {error:.1e} at most, of the logit less its bias")
    if servable:
        print(f"servable            {servable}")
    print(f"model               {run / 'model.keras'}")
    print(f"contribution maps   {run / 'gallery.png'}")
    if isinstance(net, CoDANet):
        print(f"explorer            {run / 'explorer.html'}, for any browser")
    print(f"all numbers         {run / 'metrics.json'}")
    return metrics


def draw_gallery(
    net: keras.Model, data: ImageData, logits: np.ndarray, per_class: int = 2
) -> Figure:
    """The most confident correctly classified test images of each class with their maps.

    Args:
        net: a `CoDANet`, or a classifier to compare with.
        data: `ImageData`.
        logits: `(N, classes)` of the test images.
        per_class: int, images shown of each class; of more than 20 classes those are shown
            whose images are the most confident.
    """
    best = most_confident(logits, data.test_labels, per_class)
    note = note_of_missing(data.test_labels[np.concatenate(best)], data.class_names)
    confidence = [logits[indices].max(initial=-np.inf) for indices in best]
    shown = np.sort(np.argsort(-np.array(confidence), kind="stable")[:FEW_CLASSES])
    chosen = np.concatenate([best[label] for label in shown])
    if not len(chosen):
        # A net that has not learned anything yet still shows what it looks at.
        chosen = np.arange(min(len(logits), 8))
        note = "No image is classified correctly; these are the first, with the class predicted."
    labels = np.argmax(logits[chosen], axis=-1)
    images = data.test_images[chosen].astype("float32") / 255.0
    maps, weights, quantity = _own_maps(net, images, labels)
    confidence = probabilities(logits[chosen])[np.arange(len(chosen)), labels]
    titles = [f"{data.class_names[label]}, {p:.2f}" for label, p in zip(labels, confidence)]
    columns = 4 if weights is None else 3
    return gallery(images, maps, titles, columns, quantity=quantity, weights=weights, note=note)


def _own_maps(net, images, labels):
    """A net's own maps, the weights of a `CoDANet`, and the quantity that the maps show."""
    method, quantity = own_method(net)
    if not isinstance(net, CoDANet):
        return attribution.maps(net, images, labels, method), None, quantity
    # The class that is shown is the one predicted, which `evaluate` has explained.
    parts = [images[i : i + GALLERY_BATCH] for i in range(0, len(images), GALLERY_BATCH)]
    explanations = list(explain_dataset(net, parts, fields=FIELDS))
    maps = np.concatenate([explanation.contribution_map for explanation in explanations])
    return maps, np.concatenate([explanation.weights for explanation in explanations]), quantity


def write_explorer(path: Path, net: CoDANet, data: ImageData) -> None:
    """Writes the explorer of the first test images; of large ones as many as fit."""
    part = slice(0, EXPLORED)
    view = net_view(
        net,
        data.test_images[part],
        class_names=data.class_names,
        labels=data.test_labels[part],
        names=[f"test image {index}" for index in range(len(data.test_labels[part]))],
        title=net.name,
    )
    view = explorer.fitted(view, EXPLORER_BYTES)
    view = replace(view, network=small_network(net, EXPLORER_NET_BYTES))
    explorer.write_html(path, view, f"Explanations of {net.name}")


def save_examples(folder: Path, data: ImageData) -> None:
    """Writes the first test image of each class as PNG, to send to a server."""
    for label, name in enumerate(data.class_names):
        (indices,) = np.nonzero(data.test_labels == label)
        for index in indices[:1]:
            # Descriptions of classes may hold a slash.
            file = folder / f"{name.replace('/', '-')}-{index}.png"
            with replacing(file) as temporary:
                Image.fromarray(np.asarray(data.test_images[index])).save(temporary)
