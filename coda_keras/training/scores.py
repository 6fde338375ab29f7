"""Scores of a net on all test images: accuracy, completeness, localisation."""

from typing import Any

import keras
import numpy as np

from coda_keras import attribution
from coda_keras.data import batches
from coda_keras.data.images import FloatImages, ImageData
from coda_keras.evaluation import localisation, make_grids
from coda_keras.evaluation.calls import predict_logits
from coda_keras.explanation.dataset import explain_dataset
from coda_keras.models.dynamic_linear_net import DynamicLinearNet
from coda_keras.utils.progress import tracked

# Up to so many classes all are in the gallery, and the first five say nothing.
FEW_CLASSES = 20
# What is computed of the predicted class of test images: the same for scores and for the gallery,
# for which it is compiled once.
FIELDS = ("logits", "class_ids", "weights", "contribution_map", "bias", "residual")
BATCH = 250


def evaluate(net: keras.Model, data: ImageData) -> tuple[np.ndarray, float | None]:
    """Runs a net on all test images.

    Returns:
        Logits `(N, classes)`, and for a `CoDANet` the largest `Explanation.completeness_error` of
        the predicted classes, None for others.
    """
    framework = batches.framework()
    test_images = framework.test_batches(data.test_images, data.test_labels)
    logits, errors = [], []
    with framework.reporting_broken_images():
        if not isinstance(net, DynamicLinearNet):
            shown = tracked(test_images, "testing", "batch")
            return np.concatenate([predict_logits(net, images) for images, _ in shown]), None
        for explanation in explain_dataset(net, test_images, fields=FIELDS):
            logits.append(explanation.logits)
            errors.append(explanation.completeness_error.max())
    return np.concatenate(logits), float(np.max(errors))


def predict(net: keras.Model, images: np.ndarray | FloatImages) -> np.ndarray:
    """Returns the logits `(N, classes)` of images `(N, H, W, 3)` in [0, 1], with progress shown."""
    starts = tracked(range(0, len(images), BATCH), "testing", "batch")
    return np.concatenate([predict_logits(net, images[start : start + BATCH]) for start in starts])


def score(
    net: DynamicLinearNet,
    data: ImageData,
    grids: int = 0,
    occlusion_grids: int = 0,
    fewer: bool = False,
    grid_size: int = 3,
    all_correct: bool = False,
) -> dict[str, Any]:
    """Scores a net on all test images.

    Args:
        net: a `CoDANet`, an average of nets or another `DynamicLinearNet`.
        data: `ImageData`.
        grids: int, grids of images for the localisation metric; 0 leaves it out.
        occlusion_grids: int, on how many of them occlusion by 9x9 pixels is scored too, which takes
            hundreds of forward passes a grid.
        fewer: bool, whether fewer grids, even none, will do for a net with too few confident
            images; the localisation on none is None.
        grid_size: int, images a side of a grid; the paper has 3.
        all_correct: bool, whether localisation is scored without the threshold of 50% as well.

    Returns:
        Dict with `test_accuracy`, of many classes also `test_top5_accuracy`, `test_images`,
        `completeness_error`; with grids `localisation` of the own contributions, on how many
        `grids` of which `grid_size`; and `occlusion_localisation` on the first
        `occlusion_grids` of them, with `localisation_beside_occlusion` that of the own
        contributions on the same: grids of more confident images come first and are easier; and
        `published_rule_localisation` on `published_rule_grids`, of which there may be fewer, the
        number to set beside the authors' (see `make_grids`); and with `all_correct`
        `localisation_without_threshold` on `grids_without_threshold`, of that rule.

    Raises:
        ValueError: if the net leaves too few confident images for so many grids.
    """
    logits, error = evaluate(net, data)
    scores = {
        **accuracies_of(logits, data),
        "test_images": len(logits),
        "completeness_error": error,
    }
    if grids:
        images, labels = FloatImages(data.test_images), data.test_labels
        chosen = make_grids(images, logits, labels, grids, n=grid_size, fewer=fewer)
        scores.update(localisation=None, grids=len(chosen), grid_size=grid_size)
        contributions = attribution.get("contributions")
        if len(chosen):
            own = localisation(net, chosen, contributions)
            scores["localisation"] = own.mean
            if occlusion_grids:
                part = chosen[:occlusion_grids]
                occlusion = attribution.get("occlusion", patch_size=9, stride=2)
                scores.update(
                    occlusion_localisation=localisation(net, part, occlusion).mean,
                    localisation_beside_occlusion=float(own.scores[:occlusion_grids].mean()),
                    occlusion_grids=len(part),
                )
        rules = {"published": ("published_rule_localisation", "published_rule_grids")}
        if all_correct:
            rules["all_correct"] = ("localisation_without_threshold", "grids_without_threshold")
        for rule, (score_name, count_name) in rules.items():
            chosen = make_grids(images, logits, labels, grids, n=grid_size, fewer=True, rule=rule)
            scores[count_name] = len(chosen)
            if len(chosen):
                scores[score_name] = localisation(net, chosen, contributions).mean
    return scores


def accuracies_of(logits: np.ndarray, data: ImageData) -> dict[str, float]:
    """Accuracies on the test images, by the names that metrics.json has for them.

    Args:
        logits: `(N, classes)`.
        data: `ImageData`.
    """
    accuracies = {"test_accuracy": _top(1, logits, data.test_labels)}
    if len(data.class_names) > FEW_CLASSES:
        accuracies["test_top5_accuracy"] = _top(5, logits, data.test_labels)
    return accuracies


def _top(count, logits, labels):
    """The share of images whose class is among the first `count`."""
    ranked = np.argsort(-logits, axis=-1, kind="stable")[:, :count]
    return float(np.mean(np.any(ranked == labels[:, None], axis=-1)))
