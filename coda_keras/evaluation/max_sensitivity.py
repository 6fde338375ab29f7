"""Max-sensitivity (Yeh, Hsieh, Suggala, Inouye, Ravikumar, NeurIPS 2019, "On the (In)fidelity and
Sensitivity of Explanations")."""

from typing import Any

import numpy as np

from coda_keras.evaluation.calls import signed_maps
from coda_keras.evaluation.metric import Array, Attribute, Rows, ScoreMetric
from coda_keras.evaluation.perturbation import generator_for
from coda_keras.utils.arguments import positive_int


class MaxSensitivity(ScoreMetric):
    """How much a map changes at most when the image changes a little.

        max over d with |d| <= radius of ||map(x + d) - map(x)|| / ||map(x)||,

    norms over all pixels, for the same class; relative to the map, so that its unit does not
    matter. The maximum is that of random d, uniform in the ball, so a lower bound. Where the map
    of the image is zero, the change itself counts.

    Costs `samples + 1` maps an image.

    Args:
        radius: positive number, of the L-infinity ball, for images in [0, 1]; what leaves that
            range is clipped.
        samples: positive int, perturbed images an image.
        **kwargs: `activation`, `batch_size`, `seed` of `Metric`.

    Raises:
        ValueError: if `radius` or `samples` is not positive.
    """

    name = "max_sensitivity"
    heading = "max-sens."
    good = "low"
    meaning = (
        "Max-sens.: largest relative change of the map among random changes of the image by up to "
        "0.02; low is good."
    )
    y_label = "relative change"
    most_items = 50
    # All perturbed images of a slice are in memory.
    items_per_slice = 5
    few_items = 5

    def __init__(self, radius: float = 0.02, samples: int = 10, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not radius > 0:
            raise ValueError(f"Expected a positive radius. Received: radius={radius}.")
        self.radius = radius
        self.samples = positive_int("samples", samples)

    def measure(self, model: Any, images: Array, class_ids: Array, attribute: Attribute) -> Rows:
        maps = signed_maps(attribute, model, images, class_ids, self.batch_size)
        perturbed = np.concatenate([self._perturbed(image) for image in images])
        changed = signed_maps(
            attribute, model, perturbed, np.repeat(class_ids, self.samples), self.batch_size
        )
        changes = changed.reshape(len(images), self.samples, *maps.shape[1:]) - maps[:, None]
        sizes = np.linalg.norm(maps, axis=(-2, -1))
        largest = np.linalg.norm(changes, axis=(-2, -1)).max(axis=1)
        return {"scores": largest / np.where(sizes > 0, sizes, 1)}

    def _perturbed(self, image: np.ndarray) -> np.ndarray:
        random = generator_for(self.seed, image)
        noise = random.uniform(-self.radius, self.radius, (self.samples, *image.shape))
        return np.clip(image + noise, 0, 1).astype(image.dtype)
