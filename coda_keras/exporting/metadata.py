"""What a file for another runtime says of its net: classes, T, b_0, and where it is from."""

import hashlib
import json
from typing import Any

import numpy as np

from coda_keras.explanation.computing import logit_bias
from coda_keras.utils import provenance

PACKAGES = ("coda-keras", "keras", "tensorflow")
KEY = "coda_keras"


def metadata(net: Any) -> dict[str, str]:
    """Texts by name, for formats that keep such; all but `net` are JSON.

    Args:
        net: a built net with an `image_size`.

    Returns:
        `net`, its name; `image_size`, height and width; `class_names` and `temperature`, null
        where it has none; `logit_bias`; `images`, the inputs in words; `provenance`, with the
        versions of packages and the SHA-256 of the weights in their order.
    """
    digest = hashlib.sha256()
    for weight in net.get_weights():
        digest.update(np.ascontiguousarray(weight).tobytes())
    values = {
        "image_size": net.image_size,
        "class_names": getattr(net, "class_names", None),
        "temperature": getattr(net, "temperature", None),
        "logit_bias": logit_bias(net),
        "images": "RGB, float32 in [0, 1]",
        "provenance": {
            "versions": provenance.versions(PACKAGES),
            "weights_sha256": digest.hexdigest(),
        },
    }
    return {"net": net.name, **{name: json.dumps(value) for name, value in values.items()}}
