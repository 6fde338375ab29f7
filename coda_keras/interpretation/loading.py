"""Models from files."""

from pathlib import Path

import keras
import numpy as np


def load(path: Path) -> keras.Model:
    """Loads a model.

    Raises:
        ValueError: if the file is missing or no model, with a sentence.
    """
    if not path.is_file():
        raise ValueError(
            f"There is no model {path}. Expected a .keras file as the recipes save it."
        )
    try:
        return keras.models.load_model(path, compile=False)
    except Exception as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ValueError(f"{path} cannot be loaded as a Keras model: {reason[0]}") from error


def weight_bytes(model: keras.Model) -> bytes:
    """All weights of a model, by which it is told from others."""
    return b"".join(np.ascontiguousarray(weight).tobytes() for weight in model.get_weights())
