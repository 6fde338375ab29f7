"""Deletion (Petsiuk, Das, Saenko, "RISE", BMVC 2018)."""

from typing import Any, ClassVar

import numpy as np

from coda_keras.evaluation.curves import ProbabilityCurve, curve_chart
from coda_keras.evaluation.perturbation import model_inputs


class Deletion(ProbabilityCurve):
    """The area under the probability of the class while pixels go, most important first.

    A removed pixel is zero in all six channels of a model that explains itself, and black for
    others, as in `pixel_removal`. Small is good. See `ProbabilityCurve` for arguments and cost.
    """

    name = "deletion"
    heading = "deletion"
    good = "low"
    meaning = (
        "Deletion: area under the probability of the class while all pixels go, most important "
        "first; low is good."
    )
    charts: ClassVar = {
        "deletion_curve": curve_chart("most important pixels deleted first", "pixels deleted (%)")
    }

    def ends(self, model: Any, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        inputs = model_inputs(model, images)
        return inputs, np.zeros_like(inputs)
