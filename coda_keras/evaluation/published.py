"""The figures that the authors published for CIFAR-10, to draw beside one's own."""

import json
from importlib import resources
from typing import Any

# The net of the paper that tables and charts set beside one's own, by its name in these results.
PUBLISHED_NET = "9L-S-CoDA-SQ-1000"


def published_cifar10() -> dict[str, Any]:
    """Loads the results released by the authors of the paper with their code.

    `models` is a dict from model to dict from method to a dict of the two metrics. Models are
    `"9L-S-CoDA-SQ-T"` with T = 10, 50, 100, 500, 1000 or 5000, the temperature. Methods are
    `"Ours"` (the model's own contributions) and, for T = 1000 only, `"Grad"`, `"IxG"`, `"IntGrad"`,
    `"DeepLIFT"`, `"GCam"`, `"Occ5"` and `"Occ9"`. `localisation` holds `images` (number of grids),
    `grid`, `mean` and `percentiles_25_50_75`; `pixel_removal`, with the least important pixels
    removed first, holds `fraction_removed` (first and last), `points`, and the curve
    `mean_target_probability` at that many equally spaced fractions. These are the names that
    `Localisation.summary()` and `PixelRemoval.summary()` use.

    Returns:
        A dict with `models`, and `source`, `url` and `note`: where the numbers come from and how
        they were made.

    Example:

    >>> models = published_cifar10()["models"]
    >>> models["9L-S-CoDA-SQ-1000"]["Ours"]["localisation"]["mean"]
    0.9115
    """
    data = resources.files("coda_keras.evaluation") / "cifar10_published.json"
    return json.loads(data.read_text(encoding="utf-8"))
