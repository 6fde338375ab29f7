"""How views are stored: a manifest, and packed arrays that are read when they are looked at."""

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from coda_keras.explorer.network import LiveView, encoded_network
from coda_keras.explorer.packing import Quantised, pack
from coda_keras.explorer.view import View, checked_picture

FORMAT = 1
# At which percentiles of the magnitudes the viewer can set the scale that all maps share.
PERCENTILES = (90.0, 95.0, 98.0, 99.0, 99.5, 99.75, 99.9, 100.0)


class Room(NamedTuple):
    """What fits into so many bytes: images, classes of each, and whether layers do."""

    images: int
    classes: int
    layers: bool


def room(
    max_bytes: int, images: int, classes: int, pixels: int, channels: int = 0, weights: str = "int8"
) -> Room:
    """Returns what of a view fits into `max_bytes` before compression.

    Left out are the last classes of every image, down to two; then the layers; then the last
    images, down to one.

    Args:
        max_bytes: int.
        images, classes: int, how many there are.
        pixels: int, of an image.
        channels: int, of all layers together that an image has maps of.
        weights: as for `encoded_view`.

    Example:

    >>> room(max_bytes=60_000, images=2, classes=10, pixels=32 * 32)
    Room(images=2, classes=2, layers=True)
    """
    per_class = pixels * (4 + (0 if weights == "none" else 6 * np.dtype(weights).itemsize))
    per_image = 3 * pixels
    kept = min(classes, max(2, (max_bytes // images - per_image) // per_class))
    layers = (per_image + kept * per_class + 2 * channels * pixels) * images <= max_bytes
    count = max_bytes // (per_image + kept * per_class + 2 * channels * pixels * layers)
    return Room(min(images, max(1, count)), kept, layers)


def fitted(view: View, max_bytes: int, weights: str = "int16") -> View:
    """Returns as much of a view as there is `room` for.

    Args:
        view: `View`; the classes of every image in order of importance.
        max_bytes: int, before compression.
        weights: as for `encoded_view`.
    """
    count, classes = view.class_ids.shape
    pixels = int(np.prod(view.images.shape[1:3]))
    channels = sum(layers.channels[0].size for layers in view.layers)
    weights = "none" if view.weights is None else weights
    images, kept, layers = room(max_bytes, count, classes, pixels, channels, weights)
    if (images, kept, layers) == (count, classes, True):
        return view
    by_image = ("images", "logits", "labels", "names", "negative", "class_ids", "maps", "weights")
    by_image += ("offsets",)
    parts = {name: getattr(view, name) for name in by_image if getattr(view, name) is not None}
    parts = {name: values[:images] for name, values in parts.items()}
    for name in {"class_ids", "maps", "weights", "offsets"} & parts.keys():
        parts[name] = parts[name][:, :kept]
    if not layers:
        parts["layers"] = ()
    return replace(view, **parts)


def encoded_view(view: View, weights: str = "int16") -> tuple[dict[str, Any], list[bytes]]:
    """Writes a view as a manifest and packed arrays, a blob for each image and class.

    Maps keep their float32 values, so that sums on screen are those of the library.

    Args:
        view: `View`.
        weights: `"int16"` or `"int8"`, of how many bits the weights are; `"none"` leaves them out.

    Returns:
        `(manifest, blobs)`, a dict for JSON and bytes, to which the manifest refers by index.
    """
    blobs, error = [], 0.0

    def add(arrays):
        blobs.append(pack(arrays))
        return len(blobs) - 1

    images = []
    for index, picture in enumerate(checked_picture(view.images)):
        entry = {
            "name": f"image {index}" if view.names is None else str(view.names[index]),
            "label": None if view.labels is None else int(view.labels[index]),
            "logits": [float(np.float32(logit)) for logit in view.logits[index]],
            "picture": add({"picture": picture}),
            "maps": {},
            "layers": {},
        }
        if view.negative is not None:
            entry["negative"] = float(view.negative[index])
        if view.offsets is not None:
            ids = map(str, view.class_ids[index])
            entry["offsets"] = dict(zip(ids, map(float, view.offsets[index])))
        for column, class_id in enumerate(view.class_ids[index]):
            arrays: dict[str, Any] = {"map": np.float32(view.maps[index, column])}
            if view.weights is not None and weights != "none":
                arrays["weights"] = Quantised(view.weights[index, column], weights)
                error = max(error, arrays["weights"].error)
            entry["maps"][str(class_id)] = add(arrays)
        for layers in view.layers:
            maps = layers.maps[index]
            entry["layers"][str(layers.class_ids[index])] = add(
                {
                    "channels": np.int32(layers.channels[index]),
                    "contributions": np.float32(layers.contributions[index]),
                    "maps": Quantised(maps.reshape(-1, *maps.shape[-2:]), "int16", each=True),
                }
            )
        images.append(entry)
    classes = view.logits.shape[1]
    names = range(classes) if view.class_names is None else view.class_names
    net = None
    if view.network is not None:
        description, packed = encoded_network(view.network)
        blobs.append(packed)
        net = {**description, "blob": len(blobs) - 1}
    percentiles = np.percentile(np.abs(view.maps), PERCENTILES)
    # As `figures.shared_scale` has it where a percentile is 0.
    scales = [float(value or percentiles[-1] or 1.0) for value in percentiles]
    manifest = {
        "format": FORMAT,
        "title": view.title,
        "step": view.step,
        "classes": [str(name) for name in names],
        "size": list(view.images.shape[1:3]),
        "bias": None if view.bias is None else float(np.float32(view.bias)),
        "activation": view.activation,
        "quantity": view.quantity,
        "percentiles": list(PERCENTILES),
        "scales": scales,
        "layers": list(view.layers[0].names) if view.layers else [],
        "weights": None if view.weights is None or weights == "none" else weights,
        "error": error,
        "net": net,
        "images": images,
    }
    return manifest, blobs


def encoded_live_view(view: LiveView) -> tuple[dict[str, Any], list[bytes]]:
    """Writes a view whose logits and maps the page computes; returns as `encoded_view`."""
    network = view.network
    description, packed = encoded_network(network)
    blobs = [pack({"picture": picture}) for picture in view.images]
    manifest = {
        "format": FORMAT,
        "title": view.title,
        "step": None,
        "classes": [str(name) for name in network.class_names],
        "size": list(network.size),
        "bias": description["bias"],
        "activation": "sigmoid",
        "quantity": "logits",
        "percentiles": list(PERCENTILES),
        "scales": None,
        "layers": [],
        "weights": "float32",
        "error": 0.0,
        "net": {**description, "blob": len(blobs)},
        "images": [
            {"name": name, "picture": index}
            for index, name in enumerate(view.names or map("image {}".format, range(len(blobs))))
        ],
    }
    return manifest, [*blobs, packed]
