"""Sparseness (Chalasani, Chen, Chowdhury, Wu, Jha, ICML 2020, "Concise Explanations of Neural
Networks Using Adversarial Training")."""

from typing import Any

import numpy as np

from coda_keras.evaluation.calls import signed_maps
from coda_keras.evaluation.metric import Array, Attribute, Rows, ScoreMetric


class Sparseness(ScoreMetric):
    """The Gini index of the absolute map: 0 for a uniform map, 1 - 1/n for a single pixel of n.

    Costs one map per image. See `gini`.
    """

    name = "sparseness"
    heading = "Gini"
    meaning = (
        "Gini: Gini index of the absolute map, from 0 (uniform) to 1 (a single pixel); high is "
        "concise, not necessarily right."
    )
    y_label = "Gini index"
    y_range = (0.0, 1.02)

    def measure(self, model: Any, images: Array, class_ids: Array, attribute: Attribute) -> Rows:
        maps = signed_maps(attribute, model, images, class_ids, self.batch_size)
        return {"scores": np.array([gini(map_) for map_ in maps])}


def gini(map_: np.ndarray) -> float:
    """Returns the Gini index of the n absolute values v of a map.

        1 - 2 sum over k of v_(k) (n - k + 1/2) / (n sum(v)),   v_(1) <= ... <= v_(n)

    A map of zeros counts as uniform: 0.
    """
    values = np.sort(np.abs(map_), axis=None)
    total, n = values.sum(), values.size
    if total == 0:
        return 0.0
    return float(1 - 2 * np.sum(values / total * (n - np.arange(1, n + 1) + 0.5)) / n)
