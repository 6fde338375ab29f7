"""What deletion and insertion share: the area under a curve of probabilities."""

from typing import Any

import numpy as np

from coda_keras.evaluation.calls import predict_each, signed_maps
from coda_keras.evaluation.chart import Chart, Curve, Summary
from coda_keras.evaluation.confidence import probabilities
from coda_keras.evaluation.metric import Array, Attribute, Rows, ScoreMetric
from coda_keras.evaluation.perturbation import removal_ranks, replaced, tie_order
from coda_keras.utils.arguments import positive_int


class ProbabilityCurve(ScoreMetric):
    """The probability of the class while all pixels are replaced, most important first.

    The score is the area under the curve over the fraction of the pixels replaced: a mean
    probability in [0, 1]. Costs a map and `steps + 1` evaluations per image. Equally important
    pixels go in one random order, the same for all images.

    Args:
        steps: positive int, number of equal steps; images with fewer pixels get fewer steps.
        **kwargs: `activation`, `batch_size`, `seed` of `Metric`.

    Raises:
        ValueError: if `steps` is not positive.
    """

    y_label = "area under the curve"
    y_range = (0.0, 1.02)

    def __init__(self, steps: int = 64, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.steps = positive_int("steps", steps)

    def ends(self, model: Any, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the images before the first and after the last pixel is replaced.

        Args:
            model: the model.
            images: `(N, H, W, 3)` in [0, 1].

        Returns:
            Two arrays `(N, H, W, C)` as the model takes them.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement `ends`.")

    def measure(self, model: Any, images: Array, class_ids: Array, attribute: Attribute) -> Rows:
        maps = signed_maps(attribute, model, images, class_ids, self.batch_size)
        pixels = maps[0].size
        counts = np.round(np.linspace(0, pixels, min(self.steps, pixels) + 1)).astype(int)
        ties = tie_order(self.seed, pixels)
        curves = []
        for before, after, map_, class_id in zip(*self.ends(model, images), maps, class_ids):
            frames = replaced(before, after, removal_ranks(map_, "most", ties), counts)
            logits = predict_each(model, frames, self.batch_size)
            curves.append(probabilities(logits, self.activation)[:, class_id])
        fractions = counts / pixels
        return {
            "scores": np.trapezoid(curves, fractions, axis=1),
            "curves": np.stack(curves),
            "fractions": np.broadcast_to(fractions, (len(images), len(counts))),
        }

    def summary(self, rows: Rows) -> Summary:
        return {
            **super().summary(rows),
            "fraction_replaced": rows["fractions"][0].tolist(),
            "mean_target_probability": rows["curves"].mean(axis=0).tolist(),
        }


def curve_chart(title: str, x_label: str) -> Chart:
    """Returns the chart of the mean curves."""
    return Chart(title, _read_curve, x_label=x_label, y_label="probability of the class")


def _read_curve(summary: Summary) -> Curve:
    percent = tuple(100 * fraction for fraction in summary["fraction_replaced"])
    return Curve(percent, tuple(summary["mean_target_probability"]))
