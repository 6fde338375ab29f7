"""The pixel removal metric (Section 4.2 and supplement C.4).

Pixels are removed in the order that an attribution ranks them, and the probability of the target
class is watched. Removing the least important ones first should leave it high for long.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np

from coda_keras.evaluation.calls import predict_each, signed_maps
from coda_keras.evaluation.chart import Chart, Curve, Summary
from coda_keras.evaluation.confidence import probabilities
from coda_keras.evaluation.metric import Array, Attribute, ImageMetric, Rows
from coda_keras.evaluation.perturbation import model_inputs, removal_ranks, replaced, tie_order
from coda_keras.utils.arguments import positive_int
from coda_keras.utils.progress import ProgressBar

ORDERS = ("least", "most")


@dataclass(frozen=True, eq=False)
class PixelRemoval:
    """Target-class probabilities while pixels are removed.

    Results of several parts of the images join by concatenating the arrays of `probabilities`.

    Attributes:
        fractions: `(points + 1,)`, fraction of the pixels removed, from 0.
        probabilities: dict from order (`"least"` or `"most"` important first) to an array
            `(N, points + 1)`, the probability of each image's target class.
    """

    fractions: np.ndarray
    probabilities: dict[str, np.ndarray]

    def curve(self, order: str) -> np.ndarray:
        """Returns the mean over the images, `(points + 1,)`."""
        return self.probabilities[order].mean(axis=0)

    def area(self, order: str) -> float:
        """Returns the area under the mean curve over its width: a mean probability in [0, 1].

        Good attributions have a large area for `"least"` and a small one for `"most"`.
        """
        return float(np.trapezoid(self.curve(order), self.fractions) / np.ptp(self.fractions))

    def summary(self) -> Summary:
        """Returns the figures as a dict of plain numbers, named as in the published data."""
        return {
            order: {
                "images": len(values),
                "fraction_removed": [float(self.fractions[0]), float(self.fractions[-1])],
                "points": len(self.fractions),
                "mean_target_probability": [float(value) for value in self.curve(order)],
                "area": self.area(order),
            }
            for order, values in self.probabilities.items()
        }


def pixel_removal(
    model: Any,
    images: np.ndarray,
    class_ids: np.ndarray,
    attribute: Attribute,
    orders: Sequence[str] = ORDERS,
    fraction: float = 0.25,
    points: int = 128,
    activation: str = "sigmoid",
    encode_first: bool | None = None,
    images_per_call: int = 16,
    batch_size: int = 129,
    seed: int = 42,
    progress: bool = True,
) -> PixelRemoval:
    """Removes pixels by importance and follows the probability of the target class.

    Each image is attributed once, whatever the number of orders. At most `images_per_call` images
    and `batch_size` masked images are in memory beside `images`.

    Args:
        model: callable from images to logits; a Keras model runs compiled.
        images: `(N, H, W, 3)` in [0, 1]. The paper takes the first 1,024 of the test set.
        class_ids: `(N,)` integers, the target classes; the paper takes the true ones.
        attribute: `attribute(model, images, class_ids) -> maps`, from `(B, H, W, 3)` and `(B,)` to
            signed maps `(B, H, W)`.
        orders: which of `"least"` and `"most"` important first.
        fraction: number in (0, 1], up to which fraction of the pixels is removed.
        points: int, number of equal steps.
        activation: `"sigmoid"` for one-vs-all nets, `"softmax"` for ordinary classifiers.
        encode_first: bool, whether the model gets six-channel images, so that a removed pixel is
            zero in all six channels ("no evidence", which no colour is); otherwise it is zero in
            RGB (black). None: as the paper, six channels for nets that explain themselves.
        images_per_call: int, images in one call of `attribute`.
        batch_size: int, masked images in one call of `model`.
        seed: int; equally important pixels are removed in a random order, the same for all images.
        progress: bool, whether to show a progress bar.

    Returns:
        `PixelRemoval`.

    Raises:
        ValueError: if an argument is out of range, or the maps do not fit or are not finite.
    """
    _check(images, class_ids, orders, fraction, points)
    height, width = images.shape[1:3]
    pixels = height * width
    counts = np.round(np.linspace(0, int(fraction * pixels), points + 1)).astype(int)
    ties = tie_order(seed, pixels)
    results = {order: [] for order in orders}
    with ProgressBar("pixel removal", "image", len(images), shown=progress) as bar:
        for start in range(0, len(images), images_per_call):
            part = slice(start, start + images_per_call)
            batch, targets = np.asarray(images[part]), np.asarray(class_ids[part])
            maps = signed_maps(attribute, model, batch, targets)
            inputs = model_inputs(model, batch, encode_first)
            for image, target, importance in zip(inputs, targets, maps):
                for order in orders:
                    frames = replaced(image, 0, removal_ranks(importance, order, ties), counts)
                    logits = predict_each(model, frames, batch_size)
                    results[order].append(probabilities(logits, activation)[:, target])
                bar.update()
    return PixelRemoval(
        fractions=counts / pixels,
        probabilities={order: np.stack(curves) for order, curves in results.items()},
    )


def _check(
    images: np.ndarray, class_ids: np.ndarray, orders: Sequence[str], fraction: float, points: int
) -> None:
    if len(np.shape(images)) != 4 or not len(images) or np.shape(class_ids) != (len(images),):
        raise ValueError(
            "Expected at least one image (N, H, W, 3) and class ids (N,). "
            f"Received shapes {np.shape(images)} and {np.shape(class_ids)}."
        )
    unknown = set(orders) - set(ORDERS)
    if unknown or not orders:
        raise ValueError(f"`orders` must be some of {ORDERS}. Received: orders={orders!r}.")
    removed = int(fraction * images.shape[1] * images.shape[2])
    if not 0 < fraction <= 1 or not 1 <= points <= removed:
        raise ValueError(
            "Expected 0 < fraction <= 1 and at least one pixel for each of the `points` steps. "
            f"Received: fraction={fraction}, points={points}; that fraction is {removed} pixels."
        )


def _curve(order: str, summary: Summary) -> Curve | None:
    if order not in summary:
        return None
    curve = summary[order]
    first, last = curve["fraction_removed"]
    percent = 100 * np.linspace(first, last, curve["points"])
    return Curve(tuple(percent), tuple(curve["mean_target_probability"]))


class PixelRemovalCurves(ImageMetric):
    """`pixel_removal` as a metric of studies (Section 4.2, Fig. 6 and B.4).

    Args:
        fraction, points: as for `pixel_removal`; images with fewer pixels get fewer points.
        **kwargs: `activation`, `batch_size`, `seed` of `Metric`.
    """

    name = "pixel_removal"
    charts: ClassVar = {
        order: Chart(
            f"{order} important pixels first",
            partial(_curve, order),
            x_label="pixels removed (%)",
            y_label="probability of the class",
        )
        for order in ORDERS
    }
    legend: ClassVar = {
        "removal, least first": "Removal: mean probability of the class while up to 25% of the "
        "pixels go; high is good for least important first, low for most important first.",
    }

    def __init__(self, fraction: float = 0.25, points: int = 128, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not 0 < fraction <= 1:
            raise ValueError(f"Expected 0 < fraction <= 1. Received: fraction={fraction}.")
        self.fraction = fraction
        self.points = positive_int("points", points)

    def measure(self, model: Any, images: Array, class_ids: Array, attribute: Attribute) -> Rows:
        points = min(self.points, int(self.fraction * images[0, ..., 0].size))
        removal = pixel_removal(
            model,
            images,
            class_ids,
            attribute,
            fraction=self.fraction,
            points=points,
            activation=self.activation,
            images_per_call=self.batch_size,
            batch_size=self.batch_size,
            seed=self.seed,
            progress=False,
        )
        rows = np.broadcast_to(removal.fractions, (len(images), points + 1))
        return {"fractions": rows, **removal.probabilities}

    def summary(self, rows: Rows) -> Summary:
        curves = {order: rows[order] for order in ORDERS}
        return PixelRemoval(rows["fractions"][0], curves).summary()

    def score(self, summary: Summary) -> float:
        return summary["least"]["area"]

    def in_short(self, summary: Summary) -> str:
        areas = ", ".join(f"{order} first {curve['area']:.3f}" for order, curve in summary.items())
        return f"{areas} ({summary['least']['images']} images)"

    def cells(self, summary: Summary) -> dict[str, str]:
        cells = {
            f"removal, {order} first": f"{curve['area']:.3f}" for order, curve in summary.items()
        }
        return {**cells, "images": f"{summary['least']['images']:,}"}

    def published_cells(self, summary: Summary) -> dict[str, str]:
        curve = summary["least"]["mean_target_probability"]
        return {"published removal": f"{np.trapezoid(curve) / (len(curve) - 1):.3f}"}

    def published_summary(self, results: dict[str, Any], ours: Summary) -> Summary | None:
        # The authors released this order only.
        return {"least": results["pixel_removal"]}
