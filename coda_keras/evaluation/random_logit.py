"""The random logit test (Sixt, Granz, Landgraf, ICML 2020, "When Explanations Lie: Why Many
Modified BP Attributions Fail")."""

from typing import Any, ClassVar

import numpy as np

from coda_keras.evaluation.calls import predict_logits, signed_maps
from coda_keras.evaluation.chart import Summary, distribution, score_chart
from coda_keras.evaluation.metric import Array, Attribute, Rows, ScoreMetric
from coda_keras.evaluation.perturbation import generator_for, model_inputs
from coda_keras.evaluation.similarity import compare_with_first, rank_correlation, ssim


class RandomLogit(ScoreMetric):
    """How alike the map of the class and that of another class, drawn at random, are.

    Maps that explain the class differ between classes. As in `cascading_randomisation`, the
    similarities are Spearman's rank correlation of the signed maps and the structural similarity
    (SSIM) of the absolute maps, each over its largest absolute value. Costs two maps an image.

    Args:
        **kwargs: `activation`, `batch_size`, `seed` of `Metric`.

    Raises:
        ValueError: on a call, if the model has no other class.
    """

    name = "random_logit"
    heading = "random logit"
    good = "low"
    meaning = (
        "Random logit: rank correlation of the map with that of another class; near 0 or below is "
        "good."
    )
    y_label = "rank correlation"
    charts: ClassVar = {
        "random_logit_ssim": score_chart("random logit, SSIM", "ssim", "SSIM of the absolute maps")
    }
    legend: ClassVar = {
        "random logit, SSIM": "SSIM: the same by structural similarity of the absolute maps; near "
        "0 is good."
    }

    def measure(self, model: Any, images: Array, class_ids: Array, attribute: Attribute) -> Rows:
        classes = predict_logits(model, model_inputs(model, images[:1])).shape[-1]
        if classes < 2:
            raise ValueError(
                "The random logit test compares classes; expected a model of at least two. "
                f"Received one with {classes}."
            )
        shifts = [generator_for(self.seed, image).integers(1, classes) for image in images]
        both = [class_ids, (class_ids + shifts) % classes]
        maps = np.stack([signed_maps(attribute, model, images, c, self.batch_size) for c in both])
        return {
            "scores": compare_with_first(rank_correlation, maps)["signed"][0],
            "ssim": compare_with_first(ssim, maps)["absolute"][0],
        }

    def summary(self, rows: Rows) -> Summary:
        return {**super().summary(rows), "ssim": distribution(rows["ssim"])}

    def cells(self, summary: Summary) -> dict[str, str]:
        return {**super().cells(summary), "random logit, SSIM": f"{summary['ssim']['mean']:.3f}"}
