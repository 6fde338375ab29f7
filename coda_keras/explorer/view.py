"""What the explorer shows: images, logits, and the maps of classes, as arrays."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from coda_keras.explorer.network import Network
from coda_keras.figures.colours import finite
from coda_keras.utils.arguments import one_of

ACTIVATIONS = ("sigmoid", "softmax")


class Channels(Protocol):
    """The strongest channels of L layers for a class of each image, as `ChannelContributions`.

    Attributes:
        names: L strings, the layers.
        class_ids: `(B,)`, the class.
        channels: `(B, L, k)` integers, the strongest first.
        contributions: `(B, L, k)`, what each channel adds to the logit.
        maps: `(B, L, k, H, W)`, the same by pixel.
    """

    @property
    def names(self) -> Sequence[str]: ...
    @property
    def class_ids(self) -> np.ndarray: ...
    @property
    def channels(self) -> np.ndarray: ...
    @property
    def contributions(self) -> np.ndarray: ...
    @property
    def maps(self) -> np.ndarray: ...


# Arrays cannot be compared by `==`, so that views are equal if they are the same.
@dataclass(frozen=True, eq=False)
class View:
    """Images and the maps of some of their classes, as one entry of the explorer.

    Attributes:
        images: `(B, H, W, 3)` or `(B, H, W, 6)` encoded, uint8 or floats in [0, 1].
        logits: `(B, classes)`.
        class_ids: `(B, n)`, the classes with maps.
        maps: `(B, n, H, W)`.
        class_names: names of the classes, by class id; None for their numbers.
        bias: number b_0 with `logit = bias + sum(map)`; None for maps that do not sum to logits,
            such as those of post-hoc methods.
        weights: `(B, n, H, W, 6)`, rows of W_{0->L}, or None.
        offsets: `(B, n)`, what constants inside of the net add: `logit = bias + sum(map) + offset`;
            None for none.
        labels: `(B,)`, the true classes, or None.
        names: B strings, or None.
        negative: `(B,)`, the share of each image's map that is negative; with it the page sorts and
            filters its images, or None.
        layers: `Channels`, one for each class of an image that has them.
        title: str.
        step: int, such as an epoch, or None. Views of one title are steps of a series.
        activation: `"sigmoid"` or `"softmax"`, how logits become probabilities.
        quantity: str, what the maps are in.
        network: the net as a `Network`: a page then has it, takes pixels away and explains
            photographs without any other program. None for no net in the page.

    Raises:
        ValueError: if arrays do not fit each other, or are not finite.
    """

    images: np.ndarray
    logits: np.ndarray
    class_ids: np.ndarray
    maps: np.ndarray
    class_names: Sequence[str] | None = None
    bias: float | None = None
    weights: np.ndarray | None = None
    offsets: np.ndarray | None = None
    labels: np.ndarray | None = None
    names: Sequence[str] | None = None
    negative: np.ndarray | None = None
    layers: Sequence[Channels] = ()
    title: str = "contributions"
    step: int | None = None
    activation: str = "sigmoid"
    quantity: str = "logits"
    network: Network | None = None

    def __post_init__(self) -> None:
        count, classes = self.logits.shape if self.logits.ndim == 2 else (0, 0)
        if not count or self.images.ndim != 4 or self.images.shape[-1] not in (3, 6):
            raise ValueError(
                "Expected images (B, height, width, 3 or 6) and logits (B, classes), at least one "
                f"image. Received shapes {self.images.shape} and {self.logits.shape}."
            )
        size = self.images.shape[1:3]
        expected = {
            "class_ids": (count, *self.class_ids.shape[1:2]),
            "maps": (count, *self.class_ids.shape[1:2], *size),
        }
        if self.weights is not None:
            expected["weights"] = (*expected["maps"], 6)
        if self.offsets is not None:
            expected["offsets"] = self.class_ids.shape
        for name in ("labels", "negative"):
            if getattr(self, name) is not None:
                expected[name] = (count,)
        for name, shape in {"images": (count, *size, self.images.shape[-1]), **expected}.items():
            if getattr(self, name).shape != shape:
                raise ValueError(
                    f"Expected `{name}` of shape {shape} for {count} images of {size[0]}x{size[1]} "
                    f"pixels. Received shape {getattr(self, name).shape}."
                )
        for name in ("class_names", "names"):
            given, wanted = getattr(self, name), classes if name == "class_names" else count
            if given is not None and len(given) != wanted:
                raise ValueError(f"Expected {wanted} `{name}`. Received {len(given)}.")
        numbers = [self.class_ids, *([] if self.labels is None else [self.labels])]
        if not all(np.all((ids >= 0) & (ids < classes)) for ids in numbers):
            raise ValueError(f"Expected class ids and labels in 0 to {classes - 1}.")
        if self.network is not None:
            given = (*self.network.size, len(self.network.class_names))
            if given != (*size, classes):
                raise ValueError(
                    f"Expected a net of {size[0]}x{size[1]} pixels and {classes} classes. Received "
                    f"one of {given[0]}x{given[1]} pixels and {given[2]} classes."
                )
        one_of("activation", self.activation, ACTIVATIONS)
        finite(self.logits, "Logits")
        finite(self.maps)
        if self.weights is not None:
            finite(self.weights, "Weights")
        if self.offsets is not None:
            finite(self.offsets, "Offsets")
        checked_picture(self.images)


def checked_picture(images: np.ndarray) -> np.ndarray:
    """Returns images as the viewer gets them: uint8 where they have 8 bits, else float32.

    Six channels stay only where the last three are not the complements of the first.

    Raises:
        ValueError: for another dtype, or floats outside of [0, 1].
    """
    if images.dtype != np.uint8:
        if images.dtype.kind != "f" or not np.all((images >= -1e-3) & (images <= 1 + 1e-3)):
            raise ValueError(
                "Expected images of uint8, or of floats in [0, 1]. "
                f"Received dtype {images.dtype}, values {images.min()} to {images.max()}."
            )
        images = np.clip(images, 0, 1).astype("float32")
    whole = 255 if images.dtype == np.uint8 else 1
    rgb, complements = np.split(images, [3], axis=-1)
    if complements.size and np.abs(whole - rgb - complements).max() < 1e-6 * whole:
        images = rgb
    eight_bits = np.rint(images * np.float32(255 / whole))
    if np.abs(eight_bits / 255 - images / whole).max() < 1e-6:
        return eight_bits.astype("uint8")
    return images
