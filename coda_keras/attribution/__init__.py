"""Attribution methods under one contract: `method(model, images, class_ids)` gives signed maps.

    occlusion = attribution.get("occlusion", patch_size=9, stride=2)
    maps = occlusion(model, images, class_ids)          # (B, H, W), or (B, n, H, W)

See `Attribution` for the contract, `registry.py` for all methods as data, and docs/attribution.md
for what they compute.
"""

from typing import Any

import numpy as np

from coda_keras.attribution.base import Attribution as Attribution
from coda_keras.attribution.contributions import Contributions as Contributions
from coda_keras.attribution.deeplift import DeepLIFT as DeepLIFT
from coda_keras.attribution.gradcam import GradCAM as GradCAM
from coda_keras.attribution.gradcam_plus_plus import GradCAMPlusPlus as GradCAMPlusPlus
from coda_keras.attribution.gradient import Gradient as Gradient
from coda_keras.attribution.input_x_gradient import InputXGradient as InputXGradient
from coda_keras.attribution.integrated_gradients import IntegratedGradients as IntegratedGradients
from coda_keras.attribution.lime import LIME as LIME
from coda_keras.attribution.occlusion import Occlusion as Occlusion
from coda_keras.attribution.registry import METHODS as METHODS
from coda_keras.attribution.registry import STUDIED as STUDIED
from coda_keras.attribution.registry import Method as Method
from coda_keras.attribution.registry import find as find
from coda_keras.attribution.rise import RISE as RISE
from coda_keras.attribution.smooth_gradient import SmoothGradient as SmoothGradient
from coda_keras.utils import arguments


def get(name: str, **kwargs: Any) -> Attribution:
    """Makes a method by its name.

    Args:
        name: a key of `METHODS`, or `"occlusion_K"` for windows of K pixels.
        **kwargs: arguments of the method; their defaults are the paper's.

    Returns:
        An `Attribution`.

    Raises:
        ValueError: if there is no such method, or it has no such argument.

    Example:

    >>> get("integrated_gradients", steps=10).label
    'IntGrad'
    """
    row = find(name)
    arguments.check(name, row.make, kwargs)
    return row.make(**{**row.arguments, **kwargs})


def maps(
    model: Any, images: Any, class_ids: Any, method: str = "contributions", **kwargs: Any
) -> np.ndarray:
    """Explains logits of classes by a method given by its name, once.

    For many calls make the method by `get` and call it: it compiles once per model.

    Args:
        model: a `CoDANet`, or any Keras model `(B, H, W, 3) -> (B, classes)` logits.
        images: `(B, H, W, 3)` RGB, or `(B, H, W, 6)` already encoded for a `CoDANet`.
        class_ids: `(B,)` or `(B, n)` integers, or one integer for all images.
        method: a name as for `get`.
        **kwargs: arguments of the method.

    Returns:
        `(B, H, W)` or `(B, n, H, W)` signed float32 NumPy maps.
    """
    return get(method, **kwargs)(model, images, class_ids)
