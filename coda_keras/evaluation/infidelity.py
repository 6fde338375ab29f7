"""Infidelity (Yeh, Hsieh, Suggala, Inouye, Ravikumar, NeurIPS 2019, "On the (In)fidelity and
Sensitivity of Explanations", eq. 1)."""

from typing import Any, ClassVar

import numpy as np

from coda_keras.evaluation.calls import predict_each, signed_maps
from coda_keras.evaluation.chart import Summary, distribution, score_chart
from coda_keras.evaluation.metric import Array, Attribute, Rows, ScoreMetric
from coda_keras.evaluation.perturbation import generator_for, model_inputs
from coda_keras.utils.arguments import positive_int


class Infidelity(ScoreMetric):
    """How badly a map predicts the drop of the logit when windows are removed.

        E over windows I of (sum of the map in I - (f(x) - f(x without I)))^2

    in squared logits; 0 is perfect. A removed pixel is zero in all six channels of a model that
    explains itself, and black for others. With I the removed input this is the paper's
    `I . Phi` for a `Phi` per unit of input: the map must hold contributions, that is input times
    `Phi`, in logits.

    `scaled` is the same for the map times the factor that makes it smallest for the image,
    `beta = E[a d] / E[a^2]` with a the sum of the map and d the drop (captum's `normalize=True`),
    for methods whose maps have a scale of their own.

    Costs a map and `samples + 1` evaluations per image.

    Args:
        samples: positive int, windows an image. Their sides are 1 pixel to a third of the shorter
            side of the image, all equally likely, as are all places.
        **kwargs: `activation`, `batch_size`, `seed` of `Metric`.

    Raises:
        ValueError: if `samples` is not positive.
    """

    name = "infidelity"
    heading = "infidelity"
    good = "low"
    meaning = (
        "Infidelity: mean squared difference between the sum of the map in a window and the drop "
        "of the logit when the window is removed, in squared logits; low is good."
    )
    y_label = "squared logits"
    number_format = ".3g"
    charts: ClassVar = {
        "infidelity_scaled": score_chart("infidelity, scaled", "scaled", "squared logits")
    }
    legend: ClassVar = {
        "infidelity, scaled": "Scaled: the same with each map times the factor that suits it best."
    }

    def __init__(self, samples: int = 64, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.samples = positive_int("samples", samples)

    def measure(self, model: Any, images: Array, class_ids: Array, attribute: Attribute) -> Rows:
        maps = signed_maps(attribute, model, images, class_ids, self.batch_size)
        rows = {"scores": [], "scaled": [], "zero_map": []}
        for image, inputs, map_, class_id in zip(
            images, model_inputs(model, images), maps, class_ids
        ):
            removed = windows(generator_for(self.seed, image), self.samples, *map_.shape)
            masks = [np.zeros_like(removed[0]), *removed]
            frames = (np.where(mask[..., None], 0, inputs) for mask in masks)
            logits = predict_each(model, frames, self.batch_size)[:, class_id].astype("float64")
            foretold, drops = np.tensordot(removed, map_, 2), logits[0] - logits[1:]
            rows["scores"].append(np.mean((foretold - drops) ** 2))
            rows["scaled"].append(np.mean((best_factor(foretold, drops) * foretold - drops) ** 2))
            rows["zero_map"].append(np.mean(drops**2))
        return {name: np.array(values) for name, values in rows.items()}

    def summary(self, rows: Rows) -> Summary:
        return {
            **super().summary(rows),
            "scaled": distribution(rows["scaled"]),
            "zero_map": distribution(rows["zero_map"]),
        }

    def in_short(self, summary: Summary) -> str:
        return (
            f"{summary['mean']:.3g}, scaled {summary['scaled']['mean']:.3g}, a map of zeros "
            f"{summary['zero_map']['mean']:.3g} ({summary['images']} images)"
        )

    def cells(self, summary: Summary) -> dict[str, str]:
        return {
            **super().cells(summary),
            "infidelity, scaled": f"{summary['scaled']['mean']:{self.number_format}}",
        }


def windows(random: np.random.Generator, count: int, height: int, width: int) -> np.ndarray:
    """Draws square windows.

    Args:
        random: generator.
        count: int, how many.
        height, width: int, of the image in pixels.

    Returns:
        `(count, height, width)` bool, True within the window.
    """
    sides = random.integers(1, max(1, min(height, width) // 3), count, endpoint=True)
    tops = random.integers(0, height - sides, endpoint=True)
    lefts = random.integers(0, width - sides, endpoint=True)

    def within(starts: np.ndarray, size: int) -> np.ndarray:
        positions = np.arange(size)
        return (positions >= starts[:, None]) & (positions < (starts + sides)[:, None])

    return within(tops, height)[:, :, None] & within(lefts, width)[:, None, :]


def best_factor(foretold: np.ndarray, drops: np.ndarray) -> float:
    """Returns the beta that makes `mean((beta * foretold - drops)^2)` smallest."""
    squares = np.sum(foretold**2)
    return float(np.sum(foretold * drops) / squares) if squares > 0 else 1.0
