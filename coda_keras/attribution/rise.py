"""RISE (Petsiuk, Das, Saenko, 2018)."""

from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from coda_keras.attribution.masking import MaskingAttribution
from coda_keras.backend.types import Tensor
from coda_keras.utils.arguments import positive_int


class RISE(MaskingAttribution):
    """Mean of random masks, weighted by the probability of the class under each mask.

        map = sum over i of sigmoid(logit_c(x under M_i)) M_i / (N p)

    A mask is a coarse grid whose cells are 1 with probability p, enlarged linearly and shifted by
    a random part of a cell. All images see the same masks; every masked image is evaluated once
    for all classes: `num_masks` evaluations per image.

    Args:
        num_masks: positive int, N.
        grid_size: positive int, s: cells along an axis.
        keep_probability: number p in (0, 1].
        activation: what turns logits into probabilities, by Keras' name for it; `"sigmoid"` as by
            the authors, `"softmax"`, or `"linear"` for the logits themselves.
        seed: int, of the masks.
        **kwargs: `fill` of `MaskingAttribution`, `batch_size`, `progress` of `Attribution`.

    Raises:
        ValueError: if a number is out of its range.
    """

    def __init__(
        self,
        num_masks: int = 6000,
        grid_size: int = 6,
        keep_probability: float = 0.1,
        activation: str | Callable[[Tensor], Tensor] = "sigmoid",
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.num_masks = positive_int("num_masks", num_masks)
        self.grid_size = positive_int("grid_size", grid_size)
        if not 0 < keep_probability <= 1:
            raise ValueError(
                "`keep_probability` must lie in (0, 1]. "
                f"Received: keep_probability={keep_probability!r}."
            )
        self.keep_probability = float(keep_probability)
        self.activation = keras.activations.get(activation)
        self.seed = seed

    def on_device(self, model: Any, image: Tensor, masks: Tensor) -> Tensor:
        logits = model(self.masked(image, masks), training=False)
        return self.activation(ops.cast(logits, "float32"))

    def on_host(self, images: np.ndarray, class_ids: np.ndarray) -> np.ndarray:
        maps = np.zeros((*class_ids.shape, *images.shape[1:3]))
        with self.bar(len(images) * self.num_masks) as bar:
            for masks in self.masks(*images.shape[1:3]):
                for index, (image, chosen) in enumerate(zip(images, class_ids)):
                    probabilities = self.run_on_device(image, masks)[:, chosen]
                    maps[index] += np.tensordot(probabilities, masks, (0, 0))
                    bar.update(len(masks))
        return maps / (self.num_masks * self.keep_probability)

    def masks(self, height: int, width: int) -> Iterator[np.ndarray]:
        """Yields the masks in batches `(m, height, width)`; the same for every `batch_size`."""
        random = np.random.default_rng(self.seed)
        size = self.grid_size
        # The coarse grids are small; only the enlarged masks are made batch by batch.
        grids = random.random((self.num_masks, size, size)) < self.keep_probability
        grids = grids.astype("float32")
        cells = np.ceil(np.divide((height, width), size)).astype(int)
        shifts = random.integers(0, cells, (self.num_masks, 2))
        enlarge = [_interpolation(size, (size + 1) * cell) for cell in cells]
        for start in range(0, self.num_masks, self.batch_size):
            chosen = slice(start, start + self.batch_size)
            rows, columns = (
                matrix[shift[:, None] + np.arange(pixels)]
                for matrix, shift, pixels in zip(enlarge, shifts[chosen].T, (height, width))
            )
            yield rows @ grids[chosen] @ columns.transpose(0, 2, 1)


def _interpolation(size, enlarged):
    """Matrix `(enlarged, size)` of linear interpolation, mirrored at the outermost cells."""
    position = (np.arange(enlarged) + 0.5) * size / enlarged - 0.5
    position = np.clip((size - 1) - np.abs((size - 1) - np.abs(position)), 0, None)
    distance = np.abs(position[:, None] - np.arange(size))
    return np.maximum(0, 1 - distance).astype("float32")
