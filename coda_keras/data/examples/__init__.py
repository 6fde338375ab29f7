"""Images that come with the package: for every class of CIFAR-10 its first test image.

They are JPEG-compressed copies, saved as PNG; a file is called after its class and its number in
the test set.
"""

from pathlib import Path

import numpy as np
from PIL import Image

FOLDER = Path(__file__).parent


def paths(name: str = "cifar10") -> list[Path]:
    """The PNG files of a set of images, in the order of the classes.

    Raises:
        ValueError: if there is no such set.
    """
    sets = sorted(folder.name for folder in FOLDER.iterdir() if any(folder.glob("*.png")))
    if name not in sets:
        raise ValueError(f"Unknown set of example images: {name!r}. Expected one of {sets}.")
    return sorted((FOLDER / name).glob("*.png"))


def load(name: str = "cifar10") -> np.ndarray:
    """Loads a set of images.

    Returns:
        float32 array `(N, H, W, 3)` in [0, 1].

    Raises:
        ValueError: if there is no such set.

    Example:

    >>> load("cifar10").shape
    (10, 32, 32, 3)
    """
    images = []
    for path in paths(name):
        with Image.open(path) as image:
            images.append(np.asarray(image, "float32") / 255)
    return np.stack(images)
