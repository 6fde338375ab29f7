"""A CoDA-Net as arrays, for pages that compute with it, and images that these explain."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from coda_keras.explorer.packing import pack


class Units(NamedTuple):
    """A layer of Dynamic Alignment Units.

    Attributes:
        projection: `(k, k, C, r)`, the matrix B.
        kernel: `(k, k, C, f, r)`, the matrices A.
        bias: `(k, k, C, f)`, the vectors b, or None.
        strides: int.
        rescale: `"l2"` or `"squash"`.
    """

    projection: np.ndarray
    kernel: np.ndarray
    bias: np.ndarray | None
    strides: int
    rescale: str


@dataclass(frozen=True, eq=False)
class Network:
    """A net whose logits are `bias + sum over positions(layers(encoded image)) / temperature`.

    Attributes:
        layers: sequence of `Units`.
        temperature: positive number T.
        bias: number b_0.
        size: `(height, width)` of images.
        class_names: names of the classes, by class id.

    Raises:
        ValueError: if there are no layers, a weight is not finite, or beyond the 65,504 that
            float16 can hold.
    """

    layers: Sequence[Units]
    temperature: float
    bias: float
    size: tuple[int, int]
    class_names: Sequence[str]

    def __post_init__(self) -> None:
        if not self.layers:
            raise ValueError("Expected at least one layer of units. Received none.")
        largest = np.finfo("float16").max
        # Written so that it is not true of NaN.
        if not all((np.abs(array) <= largest).all() for array in self.arrays().values()):
            raise ValueError(
                "A weight is not finite, or beyond the 65,504 that float16 can hold, which pages "
                "store."
            )

    def arrays(self) -> dict[str, np.ndarray]:
        """The weights by names such as `0.kernel`."""
        names = ("projection", "kernel", "bias")
        return {
            f"{number}.{name}": array
            for number, layer in enumerate(self.layers)
            for name, array in zip(names, layer[:3])
            if array is not None
        }


@dataclass(frozen=True, eq=False)
class LiveView:
    """Images that a page explains itself, with its own net; an entry of the explorer like `View`.

    Attributes:
        network: `Network`.
        images: `(B, H, W, 3)` of uint8, at least one.
        names: B strings, or None.
        title: str.

    Raises:
        ValueError: if the images do not fit the net.
    """

    network: Network
    images: np.ndarray
    names: Sequence[str] | None = None
    title: str = "contributions"

    def __post_init__(self) -> None:
        shape = (*self.network.size, 3)
        if self.images.dtype != np.uint8 or not len(self.images) or self.images.shape[1:] != shape:
            raise ValueError(
                f"Expected images of uint8 (B, {', '.join(map(str, shape))}), at least one. "
                f"Received dtype {self.images.dtype}, shape {self.images.shape}."
            )
        if self.names is not None and len(self.names) != len(self.images):
            raise ValueError(f"Expected {len(self.images)} names. Received {len(self.names)}.")


def encoded_network(network: Network) -> tuple[dict[str, Any], bytes]:
    """Writes a net as a description for JSON and packed arrays of float16."""
    halves = {name: array.astype("float16") for name, array in network.arrays().items()}
    description = {
        "layers": [
            {"strides": layer.strides, "rescale": layer.rescale} for layer in network.layers
        ],
        "temperature": network.temperature,
        "bias": float(np.float32(network.bias)),
        "size": list(network.size),
    }
    return description, pack(halves)
