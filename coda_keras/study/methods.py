"""Which methods a model is studied by, how they are made, and what they computed."""

from collections.abc import Callable, Sequence
from hashlib import blake2b
from importlib.util import find_spec
from typing import Any

import numpy as np

from coda_keras.attribution.registry import find
from coda_keras.utils import extras


def source_method(name: str, inherent: bool) -> str:
    """The method whose maps are those of `name` on a model, which explains itself or does not."""
    same = find(name).same_on_coda
    return same if same and inherent else name


def applicable(
    names: Sequence[str], inherent: bool, required: bool, refusal: Callable[[str], str | None]
) -> tuple[list[str], dict[str, str]]:
    """Chooses the methods that apply to a model and whose packages are installed.

    Args:
        names: of methods.
        inherent: bool, whether the model explains itself.
        required: bool, whether a method that is left out is an error.
        refusal: function of a name, which says why the method cannot take the model, if so.

    Returns:
        `(methods, left_out)`: their names, and a dict from those that need a package or cannot
        take the model to a sentence about it.

    Raises:
        ValueError: if one is left out and `required`.
    """
    methods, left_out = [], {}
    for name in names:
        if find(name).inherent and not inherent:
            continue
        package = find(source_method(name, inherent)).package
        if package is not None and find_spec(package) is None:
            left_out[name] = f"{find(name).label} needs a package. {extras.remedy(package)}"
        elif reason := refusal(name):
            left_out[name] = f"{find(name).label} cannot take this model. {reason.rstrip('.')}"
        else:
            methods.append(name)
    if left_out and required:
        raise ValueError(f"{next(iter(left_out.values()))}; or leave it out of the methods.")
    return methods, left_out


class Remembered:
    """A method that computes the map of an image and class once, for one model as it is.

    Args:
        method: `method(model, images, class_ids) -> maps`, from `(B, H, W, 3)` and `(B,)`.
    """

    def __init__(self, method: Callable[..., np.ndarray]) -> None:
        self._method = method
        self._maps: dict[tuple[bytes, int], np.ndarray] = {}

    def __call__(self, model: Any, images: np.ndarray, class_ids: np.ndarray) -> np.ndarray:
        names = [blake2b(image.tobytes(), digest_size=16).digest() for image in images]
        keys = list(zip(names, map(int, class_ids)))
        new = [i for i, key in enumerate(keys) if key not in self._maps]
        if new:
            maps = self._method(model, images[new], class_ids[new])
            self._maps.update(zip([keys[i] for i in new], maps))
        return np.stack([self._maps[key] for key in keys])
