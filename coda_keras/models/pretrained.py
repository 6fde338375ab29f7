"""Trained weights that come with the package, and their model cards.

`weights/NAME.json` is the card, `weights/NAME.npz` holds the weights in the order of
`net.get_weights()`, in half precision. Both are written by `coda-keras release`.
"""

import hashlib
import io
import json
import os
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

FOLDER = Path(__file__).parent / "weights"


class Card(NamedTuple):
    """What is known of a trained preset.

    Attributes:
        name: str, such as `"s_coda_cifar10"`: architecture and data.
        description: a sentence.
        architecture: the preset of Table C.1 whose sizes it has.
        rank_scale, rescale, temperature: as `CoDANet.from_preset` takes them.
        class_names: tuple of str, the classes in the order of the logits.
        parameters: int.
        test_accuracy: fraction of the test images, from 0 to 1.
        localisation: mean of the localisation metric of the own contributions, from 0 to 1; None if
            it was not measured.
        sha256: checksum of the file of the weights.
        details: dict: data, recipe, scores with their conditions, intended use, limits.
    """

    name: str
    description: str
    architecture: str
    rank_scale: float
    rescale: str
    temperature: float
    class_names: tuple[str, ...]
    parameters: int
    test_accuracy: float
    localisation: float | None
    sha256: str
    details: dict[str, Any]

    @property
    def path(self) -> Path:
        """The file of the weights."""
        return FOLDER / f"{self.name}.npz"

    @property
    def fine_tuned(self) -> bool:
        """Whether the first training of its recipe began with another net (`--initial`)."""
        return "--initial" in self.details["recipe"].partition(" && ")[0]


@cache
def cards() -> dict[str, Card]:
    """The cards of all trained presets by name."""
    files = (json.loads(path.read_text("utf-8")) for path in sorted(FOLDER.glob("*.json")))
    shipped = [Card(**{**file, "class_names": tuple(file["class_names"])}) for file in files]
    return {card.name: card for card in shipped}


def most_accurate() -> Card:
    """The card of the trained preset that is right on most of its test images."""
    return max(cards().values(), key=lambda card: card.test_accuracy)


def check_exists(source: str | os.PathLike) -> None:
    """Raises ValueError if there is neither such a file nor such a trained preset."""
    if not Path(source).is_file() and str(source) not in cards():
        raise ValueError(
            f"There is no model {source}. Expected a .keras file as the recipes save it, or a "
            f"preset with trained weights: {', '.join(cards())}."
        )


def load(card: Card) -> list[np.ndarray]:
    """Reads the weights of a trained preset.

    Returns:
        float32 arrays in the order of `net.get_weights()`.

    Raises:
        ValueError: if the file is missing, or is not the one that the card tells of.
    """
    remedy = "Install coda-keras anew, or check the file out again."
    if not card.path.is_file():
        raise ValueError(f"The weights of {card.name!r} are missing: {card.path}. {remedy}")
    content = card.path.read_bytes()
    checksum = hashlib.sha256(content).hexdigest()
    if checksum != card.sha256:
        raise ValueError(
            f"The weights of {card.name!r} are damaged: {card.path} has the SHA-256 {checksum}, "
            f"expected {card.sha256}. {remedy}"
        )
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return [arrays[name].astype("float32") for name in sorted(arrays.files)]


def pack(weights: list[np.ndarray]) -> bytes:
    """The content of a file of weights: compressed, float16.

    Raises:
        ValueError: if a weight does not fit into float16.
    """
    largest = np.finfo("float16").max
    # Written so that it is not true of NaN.
    if not all((np.abs(weight) <= largest).all() for weight in weights):
        raise ValueError("A weight is not finite, or beyond the 65,504 that float16 can hold.")
    halves: dict[str, Any] = {
        f"{number:03}": np.asarray(weight, "float16") for number, weight in enumerate(weights)
    }
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **halves)
    return buffer.getvalue()
