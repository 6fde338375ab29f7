"""SmoothGrad (Smilkov, Thorat, Kim, Viégas, Wattenberg, 2017)."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from coda_keras.attribution.gradient import Gradient
from coda_keras.utils.arguments import positive_int


class SmoothGradient(Gradient):
    """The mean of the gradient over noisy copies of the image, summed over the channels.

        map = mean over i of d logit_c / d x at x + noise (max x - min x) n_i

    n_i is standard normal, independent for every pixel and colour; maximum and minimum are those
    of the image's RGB values. Noisy copies are not clipped to the range of the image. On a
    `CoDANet` the noise is added to the RGB image before the encoding, so that the last three
    channels remain the complement of the first three, and the gradient is that of the six
    channels. All images and classes see the same n_i, whatever the batch size.

    Smilkov et al., "SmoothGrad: removing noise by adding noise", arXiv 1706.03825.

    Args:
        samples: positive int, how many noisy copies; the paper finds little change beyond 50.
        noise: number >= 0, standard deviation of the noise as a fraction of the range of the
            image's values; the paper advises 0.1 to 0.2.
        seed: int, of the noise.
        **kwargs: `batch_size`, `progress` of `Attribution`.

    Raises:
        ValueError: if `samples` is no positive integer, or `noise` is negative or not finite.
    """

    def __init__(
        self, samples: int = 50, noise: float = 0.15, seed: int = 0, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.samples = positive_int("samples", samples)
        if not 0 <= noise < np.inf:
            raise ValueError(
                "`noise` must be a number of at least 0, a fraction of the range of the image's "
                f"values. Received: noise={noise!r}."
            )
        self.noise = float(noise)
        self.seed = seed

    def pair_maps(self, images: np.ndarray, class_ids: np.ndarray) -> np.ndarray:
        rgb = images[..., :3]
        deviation = self.noise * np.ptp(rgb, axis=(1, 2, 3), keepdims=True)
        total = np.zeros(images.shape[:3])
        for normal in self.normals(*images.shape[1:3]):
            change = deviation * normal
            if images.shape[-1] == 6:
                # The encoding of a brighter colour has darker complements.
                change = np.concatenate([change, -change], axis=-1)
            total += self.run_on_device(images + change, class_ids)
        return total / self.samples

    def normals(self, height: int, width: int) -> Iterator[np.ndarray]:
        """Yields the `samples` draws n_i: `(height, width, 3)` float32, standard normal."""
        random = np.random.default_rng(self.seed)
        for _ in range(self.samples):
            yield random.standard_normal((height, width, 3), dtype="float32")
