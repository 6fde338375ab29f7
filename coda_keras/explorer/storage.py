"""How views are stored: a manifest, and packed arrays that are read when they are looked at."""

from dataclasses import replace
from typing import Any

import numpy as np

from coda_keras.explorer.packing import Quantised, pack
from coda_keras.explorer.view import View, checked_picture

FORMAT = 1
# At which percentiles of the magnitudes the viewer can set the scale that all maps share.
PERCENTILES = (90.0, 95.0, 98.0, 99.0, 99.5, 99.75, 99.9, 100.0)


def fitted(view: View, max_bytes: int, weights: str = "int16") -> View:
    """Returns as much of a view as `max_bytes` hold before compression.

    Left out are the last classes of every image, down to two; then the layers; then the last
    images, down to one.

    Args:
        view: `View`; the classes of every image in order of importance.
        max_bytes: int.
        weights: as for `encoded_view`.
    """
    count, classes = view.class_ids.shape
    pixels = int(np.prod(view.images.shape[1:3]))
    has_weights = view.weights is not None and weights != "none"
    per_class = pixels * (4 + (6 * np.dtype(weights).itemsize if has_weights else 0))
    per_image = pixels * 3
    layers = sum(2 * each.maps[0].size for each in view.layers)
    room = max_bytes // count - per_image
    kept = int(min(classes, max(min(2, classes), room // per_class)))
    if per_image + kept * per_class + layers > max_bytes // count:
        view, layers = replace(view, layers=()), 0
    images = int(np.clip(max_bytes // (per_image + kept * per_class + layers), 1, count))

    def first(values, columns=False):
        if values is None:
            return None
        return values[:images, :kept] if columns else values[:images]

    return replace(
        view,
        **{name: first(getattr(view, name)) for name in ("images", "logits", "labels", "names")},
        **{name: first(getattr(view, name), True) for name in ("class_ids", "maps", "weights")},
    )


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
        for column, class_id in enumerate(view.class_ids[index]):
            arrays = {"map": np.float32(view.maps[index, column])}
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
    found = np.percentile(np.abs(view.maps), PERCENTILES)
    # As `figures.shared_scale` has it where a percentile is 0.
    scales = [float(value or found[-1] or 1.0) for value in found]
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
        "images": images,
    }
    return manifest, blobs
