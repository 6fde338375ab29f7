"""Insertion (Petsiuk, Das, Saenko, "RISE", BMVC 2018)."""

from typing import Any, ClassVar

import numpy as np
from scipy.ndimage import gaussian_filter

from coda_keras.evaluation.curves import ProbabilityCurve, curve_chart
from coda_keras.evaluation.perturbation import model_inputs
from coda_keras.utils.arguments import one_of

BASELINES = ("blur", "zero")
# The kernel of the paper: Gaussian, 11x11 pixels.
SIGMA, RADIUS = 5.0, 5


class Insertion(ProbabilityCurve):
    """The area under the probability of the class while pixels come, most important first.

    Large is good. See `ProbabilityCurve` for the cost.

    Args:
        baseline: what the pixels are inserted into: `"blur"`, as in the paper the image blurred
            by a Gaussian of 11x11 pixels with standard deviation 5, in RGB; or `"zero"`, what
            `Deletion` ends with.
        **kwargs: `steps` of `ProbabilityCurve`; `activation`, `batch_size`, `seed` of `Metric`.

    Raises:
        ValueError: for another baseline.
    """

    name = "insertion"
    heading = "insertion"
    meaning = (
        "Insertion: area under the probability of the class while all pixels come into the "
        "blurred image, most important first; high is good."
    )
    charts: ClassVar = {
        "insertion_curve": curve_chart(
            "most important pixels inserted first", "pixels inserted (%)"
        )
    }

    def __init__(self, baseline: str = "blur", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.baseline = one_of("baseline", baseline, BASELINES)

    def ends(self, model: Any, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        inputs = model_inputs(model, images)
        if self.baseline == "zero":
            return np.zeros_like(inputs), inputs
        return model_inputs(model, blurred(images)), inputs


def blurred(images: np.ndarray) -> np.ndarray:
    """Blurs images `(N, H, W, C)`; beyond the border they go on as at the border.

    Zeros there, as in the authors' code, would darken the border of small images.
    """
    width = (0, SIGMA, SIGMA, 0)
    return gaussian_filter(images, width, radius=(0, RADIUS, RADIUS, 0), mode="nearest")
