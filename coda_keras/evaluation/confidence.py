"""Class probabilities of one-vs-all nets and of ordinary softmax classifiers, on one scale."""

import numpy as np
from scipy.special import expit, logsumexp

ACTIVATIONS = ("sigmoid", "softmax")


def log_odds(logits, activation="sigmoid"):
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
    if activation not in ACTIVATIONS:
        raise ValueError(f"Unknown `activation`: {activation!r}. Expected one of {ACTIVATIONS}.")
    logits = np.asarray(logits, "float64")
    if activation == "sigmoid":
        return logits
    classes = logits.shape[-1]
    rivals = np.where(np.eye(classes, dtype=bool), -np.inf, logits[..., None, :])
    return logits - logsumexp(rivals, axis=-1)


def probabilities(logits, activation="sigmoid"):
    """Returns the class probabilities `(..., classes)`; arguments as for `log_odds`."""
    return expit(log_odds(logits, activation))
