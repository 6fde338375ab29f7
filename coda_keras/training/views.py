"""What the explorer shows of a net: maps of its likeliest classes, and its strongest channels."""

from typing import Any

import numpy as np
from keras import ops

from coda_keras.explanation.channels import strongest_channels
from coda_keras.explorer import View
from coda_keras.explorer.removal import as_floats
from coda_keras.models.coda_net import CoDANet

CLASSES = 20


def net_view(net: CoDANet, images: np.ndarray, classes: int = CLASSES, **more: Any) -> View:
    """Explains images for the explorer, one at a time.

    Args:
        net: a `CoDANet`.
        images: `(B, H, W, 3)`, uint8 or floats in [0, 1].
        classes: int, classes of an image that get maps, the likeliest first.
        **more: `class_names`, `labels`, `names`, `title`, `step` of `View`.

    Returns:
        A `View` with weights, and with the layers for the predicted class.
    """
    floats = as_floats(np.asarray(images))
    found = []
    for row in floats:
        logits = ops.convert_to_numpy(net(row[None]))
        ranked = np.argsort(-logits, axis=1, kind="stable")[:, :classes]
        found.append(net.explain(row[None], ranked).numpy())
    class_ids = np.concatenate([each.class_ids for each in found])
    return View(
        images=np.asarray(images),
        logits=np.concatenate([each.logits for each in found]),
        class_ids=class_ids,
        maps=np.concatenate([each.contribution_map for each in found]),
        weights=np.concatenate([each.weights for each in found]),
        bias=float(found[0].bias),
        layers=[strongest_channels(net, floats, class_ids[:, 0])],
        **more,
    )
