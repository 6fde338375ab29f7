"""How the metrics perturb images: what a removed pixel is, and in which order pixels go."""

import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from keras import ops

from coda_keras.explanation.explanation import is_inherent
from coda_keras.layers.encoding import encode


def model_inputs(model: Any, images: np.ndarray, encode_first: bool | None = None) -> np.ndarray:
    """Brings images into the form in which a removed pixel is zero in all channels.

    Args:
        model: the model that is going to see them.
        images: `(B, H, W, 3)` in [0, 1].
        encode_first: bool, whether that form has six channels, so that zero is "no evidence",
            which no colour is; otherwise it is RGB, and zero is black. None: as the paper, six
            channels for models that explain themselves.

    Returns:
        `(B, H, W, 6)` or `(B, H, W, 3)`.
    """
    if encode_first is None:
        encode_first = is_inherent(model)
    return ops.convert_to_numpy(encode(ops.convert_to_tensor(images))) if encode_first else images


def removal_ranks(importance: np.ndarray, order: str, ties: np.ndarray) -> np.ndarray:
    """Returns when each pixel goes: 0 for the first, `H*W - 1` for the last.

    Args:
        importance: `(H, W)` signed map.
        order: `"least"` or `"most"` important first.
        ties: `(H*W,)`, a permutation that decides between equally important pixels.

    Returns:
        `(H, W)` integers.
    """
    values = np.ravel(importance)
    sequence = np.lexsort((ties, values if order == "least" else -values))
    ranks = np.empty(values.size, int)
    ranks[sequence] = np.arange(values.size)
    return ranks.reshape(np.shape(importance))


def tie_order(seed: int, pixels: int) -> np.ndarray:
    """Returns the permutation that decides between equally important pixels of every image."""
    return np.random.RandomState(seed).permutation(pixels)


def replaced(
    before: np.ndarray,
    after: np.ndarray | float,
    ranks: np.ndarray,
    counts: Sequence[int] | np.ndarray,
) -> Iterator[np.ndarray]:
    """Yields one image `(H, W, C)` for each count: its first pixels are those of another image.

    Args:
        before: `(H, W, C)`, the image in which no pixel is replaced yet.
        after: `(H, W, C)`, or one value, what the pixels are replaced by.
        ranks: `(H, W)`, see `removal_ranks`.
        counts: how many pixels are replaced.
    """
    after = np.asarray(after, before.dtype)
    for count in counts:
        yield np.where((ranks < count)[..., None], after, before)


def generator_for(seed: int, image: np.ndarray) -> np.random.Generator:
    """Returns a random generator that depends on the seed and the image alone.

    So the numbers of an image are the same whichever images are measured with it.
    """
    pixels = np.ascontiguousarray(image, "float32")
    return np.random.default_rng([seed, zlib.crc32(pixels.tobytes())])
