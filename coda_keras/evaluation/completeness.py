"""Completeness: whether a map sums to the logit that it explains (Sundararajan, Taly, Yan, ICML
2017, "Axiomatic Attribution for Deep Networks", Section 3)."""

from typing import Any

import numpy as np

from coda_keras.evaluation.calls import predict_each, signed_maps
from coda_keras.evaluation.metric import Array, Attribute, Rows, ScoreMetric
from coda_keras.evaluation.perturbation import model_inputs
from coda_keras.explanation.explanation import completeness_error


class Completeness(ScoreMetric):
    """What of a logit a map leaves unexplained, relative to what there is to explain.

        |logit - b_0 - sum(map)| / max(|logit - b_0|, 0.01)

    b_0 is the `logit_bias` of models that have one (a `CoDANet`), for others the logit of black:
    what integrated gradients and DeepLIFT claim to sum to. 0 is complete, 1 is what a map of zeros
    has; methods that claim nothing of the kind are measured all the same. Costs a map and an
    evaluation an image.
    """

    name = "completeness"
    heading = "completeness"
    good = "low"
    meaning = (
        "Completeness: difference between the sum of the map and the logit less its bias, over the "
        "latter; 0 is complete."
    )
    y_label = "relative error"
    number_format = ".2g"

    def measure(self, model: Any, images: Array, class_ids: Array, attribute: Attribute) -> Rows:
        maps = signed_maps(attribute, model, images, class_ids, self.batch_size)
        inputs = model_inputs(model, images)
        logits = predict_each(model, inputs, self.batch_size).astype("float64")
        bias = getattr(model, "logit_bias", None)
        if bias is None:
            bias = predict_each(model, np.zeros_like(inputs[:1]), 1)[0, class_ids]
        explicable = logits[np.arange(len(images)), class_ids] - bias
        return {"scores": completeness_error(explicable - maps.sum(axis=(1, 2)), explicable)}
