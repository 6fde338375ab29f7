"""ROAD, remove and debias (Rong, Leemann, Borisov, Kasneci, Kasneci, ICML 2022, "A Consistent and
Efficient Evaluation Strategy for Attribution Methods")."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, ClassVar

import numpy as np
from scipy.sparse import csr_array, diags_array, kron
from scipy.sparse.linalg import spsolve

from coda_keras.evaluation.calls import predict_each, signed_maps
from coda_keras.evaluation.chart import Chart, Curve, Summary
from coda_keras.evaluation.confidence import probabilities
from coda_keras.evaluation.metric import Array, Attribute, Rows, ScoreMetric
from coda_keras.evaluation.perturbation import (
    generator_for,
    model_inputs,
    removal_ranks,
    tie_order,
)

ORDERS = ("most", "least")
# Of the four direct neighbours and of the four diagonal ones.
DIRECT, DIAGONAL = 1 / 6, 1 / 12
NOISE = 0.01


def _curve(order: str, summary: Summary) -> Curve:
    return Curve(tuple(summary["percentages"]), tuple(summary[order]))


class ROAD(ScoreMetric):
    """Probability of the class while pixels are replaced by what their neighbours suggest.

    A removed pixel becomes the weighted mean of its eight neighbours, removed ones included: a
    linear system (`imputed`), plus Gaussian noise of standard deviation 0.01. Unlike black pixels
    these do not show by themselves where something was removed. The imputation is in RGB, for
    all models.

    The score is `(L - M) / 2`, where L and M are the probability of the class, averaged over
    `percentages`, with the least (L) or the most important pixels (M) removed first; large is
    good. Costs a map, 18 evaluations and as many sparse linear systems per image.

    Args:
        percentages: numbers between 0 and 100, how much is removed.
        **kwargs: `activation`, `batch_size`, `seed` of `Metric`; equally important pixels go in
            one random order, the same for all images.

    Raises:
        ValueError: if there is no percentage or one is out of range.
    """

    name = "road"
    heading = "ROAD"
    meaning = (
        "ROAD: mean probability of the class with 10 to 90% of the pixels imputed from their "
        "neighbours, least important first minus most important first, halved; high is good."
    )
    y_label = "(least first - most first) / 2"
    charts: ClassVar = {
        f"road_{order}": Chart(
            f"ROAD, {order} important pixels first",
            partial(_curve, order),
            x_label="pixels imputed (%)",
            y_label="probability of the class",
            markers=True,
        )
        for order in ORDERS
    }

    def __init__(
        self, percentages: Sequence[float] = tuple(range(10, 100, 10)), **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.percentages = list(percentages)
        if not self.percentages or not all(0 < part < 100 for part in self.percentages):
            raise ValueError(
                "Expected at least one percentage, each between 0 and 100. "
                f"Received: percentages={percentages}."
            )

    def measure(self, model: Any, images: Array, class_ids: Array, attribute: Attribute) -> Rows:
        maps = signed_maps(attribute, model, images, class_ids, self.batch_size)
        weights = neighbour_weights(*maps.shape[1:])
        ties = tie_order(self.seed, maps[0].size)
        curves = []
        for image, map_, class_id in zip(images, maps, class_ids):
            frames = self._frames(image, map_, weights, ties)
            inputs = (model_inputs(model, frame[None])[0] for frame in frames)
            logits = predict_each(model, inputs, self.batch_size)
            curve = probabilities(logits, self.activation)[:, class_id]
            curves.append(curve.reshape(len(ORDERS), -1))
        most, least = np.swapaxes(curves, 0, 1)
        return {
            "scores": (least.mean(axis=1) - most.mean(axis=1)) / 2,
            "most": most,
            "least": least,
            "percentages": np.broadcast_to(self.percentages, most.shape),
        }

    def _frames(
        self, image: np.ndarray, map_: np.ndarray, weights: csr_array, ties: np.ndarray
    ) -> Iterator[np.ndarray]:
        noise = NOISE * generator_for(self.seed, image).normal(size=image.shape)
        counts = np.array(self.percentages) / 100 * map_.size
        for order in ORDERS:
            ranks = removal_ranks(map_, order, ties)
            for count in counts.astype(int):
                removed = ranks < count
                filled = imputed(image, removed, weights) + removed[..., None] * noise
                yield np.clip(filled, 0, 1).astype(image.dtype)

    def summary(self, rows: Rows) -> Summary:
        return {
            **super().summary(rows),
            "percentages": rows["percentages"][0].tolist(),
            **{order: rows[order].mean(axis=0).tolist() for order in ORDERS},
        }

    def cells(self, summary: Summary) -> dict[str, str]:
        parts = {f"ROAD, {order} first": f"{np.mean(summary[order]):.3f}" for order in ORDERS}
        return {**super().cells(summary), **parts}


def neighbour_weights(height: int, width: int) -> csr_array:
    """Returns the sparse matrix `(H*W, H*W)` of the weights of each pixel's neighbours.

    Those that would lie beyond the border are left out.
    """
    (same_row, rows), (same_column, columns) = (
        (diags_array(np.ones(size)), diags_array([np.ones(size - 1)] * 2, offsets=(-1, 1)))
        for size in (height, width)
    )
    direct = kron(rows, same_column) + kron(same_row, columns)
    return csr_array(DIRECT * direct + DIAGONAL * kron(rows, columns))


def imputed(image: np.ndarray, removed: np.ndarray, weights: csr_array) -> np.ndarray:
    """Makes every removed pixel the weighted mean of its neighbours.

    Args:
        image: `(H, W, C)`.
        removed: `(H, W)` bool; at least one pixel is left.
        weights: `neighbour_weights(H, W)`.

    Returns:
        `(H, W, C)`, float64; the pixels not removed are those of the image.
    """
    pixels = image.reshape(removed.size, -1).astype("float64")
    unknown, known = np.flatnonzero(removed), np.flatnonzero(~removed)
    if len(unknown):
        of_unknown = weights[unknown]
        total = diags_array(of_unknown.sum(axis=1))
        system = (total - of_unknown[:, unknown]).tocsc()
        solution = spsolve(system, of_unknown[:, known] @ pixels[known])
        pixels[unknown] = solution.reshape(len(unknown), -1)
    return pixels.reshape(image.shape)
