"""Whether an exported file answers in its runtime as its net does in Keras."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from scipy.special import expit

Arrays = Mapping[str, np.ndarray]
# Of the largest magnitude of an image; float32 rounding is a hundredth of it.
TOLERANCE = 1e-4


def differences(answer: Arrays, expected: Arrays) -> dict[str, float]:
    """How far outputs are from the net's, the largest over all images.

    Args:
        answer: arrays of a runtime by the names of outputs.
        expected: those of `net.explain`, with `probabilities`; others are left alone.

    Returns:
        For every output of floats the largest difference over the largest magnitude of that image;
        for `residual` its own largest magnitude; for `class_ids` the share of images with another
        class, unless its logit is as high but for `TOLERANCE`.
    """
    found = {}
    for name in answer.keys() & expected.keys():
        values, right = np.asarray(answer[name]), np.asarray(expected[name])
        if values.shape != right.shape:
            raise ValueError(f"{name} has shape {values.shape} instead of {right.shape}")
        if name == "class_ids":
            found[name] = float(np.mean(_others(values, right, np.asarray(expected["logits"]))))
        elif name == "residual":
            found[name] = float(np.abs(values).max())
        else:
            values, right = (array.reshape(len(array), -1) for array in (values, right))
            # Offsets may be 0, and are parts of logits.
            whole = np.asarray(expected["logits"]) if name == "offset" else right
            scale = np.maximum(np.abs(whole).max(axis=1), 1e-12)
            found[name] = float((np.abs(values - right).max(axis=1) / scale).max())
    return found


def _others(values: np.ndarray, right: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """Which predicted classes differ though the two best are apart by more than rounding."""
    rows = np.arange(len(logits))
    inside = np.clip(values, 0, logits.shape[-1] - 1)
    lost = logits[rows, right] - logits[rows, inside]
    level = (inside == values) & (np.abs(lost) <= TOLERANCE * np.abs(logits).max(axis=1))
    return (values != right) & ~level


def expected(net: Any, images: np.ndarray, class_ids: np.ndarray | None = None) -> Arrays:
    """What the net itself answers, explained in Keras.

    Args:
        net: a float32 `DynamicLinearNet`.
        images: `(B, H, W, 3)`.
        class_ids: `(B,)`, or None for the predicted classes.
    """
    values = net.explain(images, class_ids).numpy().arrays()
    return {**values, "probabilities": expit(values["logits"])}


def verify(run: Callable[..., Arrays], net: Any) -> dict[str, float]:
    """Runs an exported file on four images and compares every output with the net's.

    Predicted and given classes are explained; of an image with a value above 1 nothing may be.

    Args:
        run: takes arrays by the names of inputs to those of outputs, as
            `coda_keras_export.runtimes.load` returns it.
        net: the float32 net that the file was made of.

    Returns:
        The `differences`, the larger of both.

    Raises:
        ValueError: if the file answers otherwise than the net.
    """
    images = np.random.default_rng(0).random((4, *net.image_size, 3), "float32")
    given = np.arange(4, dtype="int32") % net.classes
    found: dict[str, float] = {}
    for asked, explained in ((np.full(4, -1, "int32"), None), (given, given)):
        answer = run(images=images, target_class_ids=asked)
        for name, value in differences(answer, expected(net, images, explained)).items():
            found[name] = max(value, found.get(name, 0.0))
    for name, value in found.items():
        if not value <= TOLERANCE:
            raise ValueError(
                f"The file does not answer as the net does: {name} is off by {value:.1e}, more "
                f"than {TOLERANCE:.0e}. Nothing was written."
            )
    refused = run(images=2 * images, target_class_ids=given)
    if np.isfinite(refused["logits"]).any() or np.isfinite(refused["contributions"]).any():
        raise ValueError("The file explains images with values above 1. Nothing was written.")
    return found
