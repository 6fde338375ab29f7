"""Class probabilities of one-vs-all nets and of ordinary softmax classifiers, on one scale."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.special import expit, logit, logsumexp

from coda_keras.utils.arguments import one_of
from coda_keras.utils.labels import integer_labels
from coda_keras.utils.text import listed

ACTIVATIONS = ("sigmoid", "softmax")


def log_odds(logits: Any, activation: str = "sigmoid") -> np.ndarray:
    """Returns `log(p / (1 - p))` of every class probability p.

    Unlike probabilities it does not saturate, so it still sorts images by confidence where p
    rounds to 1; p > 0.5 is the same as a positive value.

    Args:
        logits: `(..., classes)`.
        activation: `"sigmoid"` for one-vs-all nets (CoDA-Nets), where the log odds are the logits
            themselves, or `"softmax"` for classifiers trained with a softmax.

    Returns:
        `(..., classes)`, float64 NumPy array.

    Raises:
        ValueError: for another activation.
    """
    one_of("activation", activation, ACTIVATIONS)
    logits = np.asarray(logits, "float64")
    if activation == "sigmoid":
        return logits
    # For the sum over a class's rivals that class is taken out of the sum over all: for the largest
    # logit before they are summed, and for the others after, when the largest is still in it.
    position = logits.argmax(axis=-1)[..., None]
    largest = np.take_along_axis(logits, position, axis=-1)
    without_largest = logits.copy()
    np.put_along_axis(without_largest, position, -np.inf, axis=-1)
    rivals_of_largest = logsumexp(without_largest, axis=-1, keepdims=True)
    shares = np.exp(logits - largest)
    others = np.maximum(shares.sum(axis=-1, keepdims=True) - shares, 1)
    rivals = np.where(logits == largest, rivals_of_largest, largest + np.log(others))
    return logits - rivals


def probabilities(logits: Any, activation: str = "sigmoid") -> np.ndarray:
    """Returns the class probabilities `(..., classes)`; arguments as for `log_odds`."""
    return expit(log_odds(logits, activation))


def most_confident(
    logits: Any,
    labels: Any,
    per_class: int | None = None,
    minimum: float = 0.0,
    activation: str = "sigmoid",
) -> list[np.ndarray]:
    """Finds the correctly classified images of every class, most confident first.

    Args:
        logits: `(N, classes)`, or an `Explanation` with these logits.
        labels: `(N,)` or `(N, 1)` integers, or `(N, classes)` one-hot: the true classes.
        per_class: int, images of each class at most; None for all.
        minimum: number in [0, 1); only images whose class has a larger probability.
        activation: `"sigmoid"` or `"softmax"`, see `log_odds`, by which confidence is compared.

    Returns:
        A list with one int64 array a class: indices of its images. A class without a correctly
        classified image has an empty one.

    Raises:
        ValueError: if the labels do not fit the logits, or another activation is given.

    Example:

    >>> by_class = most_confident(np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 0.0]]), [0, 1, 0])
    >>> [indices.tolist() for indices in by_class]
    [[2, 0], [1]]
    """
    confidence = log_odds(getattr(logits, "logits", logits), activation)
    labels = integer_labels(labels)
    if confidence.ndim != 2 or labels.shape != confidence.shape[:1]:
        raise ValueError(
            "Expected logits (N, classes) and a label for each. "
            f"Received shapes {confidence.shape} and {labels.shape}."
        )
    classes = confidence.shape[1]
    predicted = confidence.argmax(axis=1)
    confidence = confidence.max(axis=1)
    eligible = (predicted == labels) & (confidence > logit(minimum))
    ordered = np.argsort(-confidence, kind="stable")
    ordered = ordered[eligible[ordered]]
    by_class = [ordered[labels[ordered] == label] for label in range(classes)]
    return [indices[:per_class] for indices in by_class]


def note_of_missing(labels: Any, class_names: Sequence[str], most: int = 8) -> str:
    """Says which classes have no correctly classified image among those that are shown.

    Args:
        labels: integers, the classes of these images.
        class_names: names of all classes.
        most: int, classes that are named.

    Returns:
        A sentence; empty if every class is there.

    Example:

    >>> note_of_missing([0, 2, 0], ["cat", "dog", "owl", "bat"])
    'No correctly classified image of dog, bat.'
    """
    shown = {int(label) for label in labels}
    missing = [name for label, name in enumerate(class_names) if label not in shown]
    if not missing:
        return ""
    more = " classes" if len(missing) > most else ""
    return f"No correctly classified image of {listed(missing, most, longest=None)}{more}."
