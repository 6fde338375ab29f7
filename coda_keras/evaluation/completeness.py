"""Completeness: whether a map sums to the logit that it explains (Sundararajan, Taly, Yan, ICML
2017, "Axiomatic Attribution for Deep Networks", Section 3)."""

from typing import Any

import numpy as np
from keras import ops

from coda_keras.evaluation.calls import predict_each, signed_maps
from coda_keras.evaluation.metric import Array, Attribute, Rows, ScoreMetric
from coda_keras.evaluation.perturbation import model_inputs
from coda_keras.explanation.explanation import completeness_error, explain
from coda_keras.layers.offset import pull


class Completeness(ScoreMetric):
    """What of a logit a map leaves unexplained, relative to what there is to explain.

        |logit - b_0 - sum(map)| / max(|logit - b_0|, 0.01)

    b_0 is the `logit_bias` of models that have one (a `CoDANet`), with what constants inside of
    them add. For others it is the logit of black: what integrated gradients and DeepLIFT claim to
    sum to. 0 is complete, 1 is what a map of zeros has; methods that claim nothing of the kind are
    measured all the same. Costs one map and one evaluation per image.
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
        constants = bias + offsets(model, inputs, class_ids, self.batch_size)
        explicable = logits[np.arange(len(images)), class_ids] - constants
        return {"scores": completeness_error(explicable - maps.sum(axis=(1, 2)), explicable)}


def offsets(model: Any, inputs: Array, class_ids: Array, batch_size: int) -> Array | float:
    """What constants inside of a net add to logits: `(B,)`, or 0 for models that declare none."""
    if not hasattr(model, "linearize"):
        return 0.0
    outputs, pullback = model.linearize(ops.convert_to_tensor(inputs[:1]))
    if isinstance(pull(pullback, ops.ones_like(outputs))[1], float):
        return 0.0
    starts = range(0, len(inputs), batch_size)
    parts = [slice(start, start + batch_size) for start in starts]
    explained = (explain(model, inputs[part], class_ids[part]) for part in parts)
    return np.concatenate([ops.convert_to_numpy(one.offset) for one in explained])
