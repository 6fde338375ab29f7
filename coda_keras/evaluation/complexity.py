"""Complexity (Bhatt, Weller, Moura, IJCAI 2020, "Evaluating and Aggregating Feature-based Model
Explanations")."""

from typing import Any

import numpy as np
from scipy.special import entr

from coda_keras.evaluation.calls import signed_maps
from coda_keras.evaluation.metric import Array, Attribute, Rows, ScoreMetric


class Complexity(ScoreMetric):
    """The entropy of the absolute map in nats: 0 for a single pixel, log n for n equal ones.

    Costs one map per image. See `entropy`.
    """

    name = "complexity"
    heading = "entropy"
    good = "low"
    meaning = (
        "Entropy: that of the absolute map over its sum, in nats; low is concise, not necessarily "
        "right."
    )
    y_label = "entropy (nats)"

    def measure(self, model: Any, images: Array, class_ids: Array, attribute: Attribute) -> Rows:
        maps = signed_maps(attribute, model, images, class_ids, self.batch_size)
        return {"scores": np.array([entropy(map_) for map_ in maps])}


def entropy(map_: np.ndarray) -> float:
    """Returns `-sum p log p` in nats, p being the absolute map over its sum.

    A map of zeros counts as uniform: log n.
    """
    values = np.abs(map_)
    total = values.sum()
    return float(entr(values / total).sum()) if total > 0 else float(np.log(values.size))
