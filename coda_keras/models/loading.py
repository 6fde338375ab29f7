"""Models from files."""

import os
from typing import Any

import keras
import numpy as np

# Files name classes of all these modules, which register them.
from coda_keras.models import airbench as airbench
from coda_keras.models import ensemble as ensemble
from coda_keras.models import keras_file
from coda_keras.models import resnet as resnet
from coda_keras.models.coda_net import CoDANet
from coda_keras.models.pretrained import cards
from coda_keras.models.pretrained import check_exists as check_exists


def load_model(source: str | os.PathLike) -> keras.Model:
    """Loads a model from a file, or a preset with trained weights by its name.

    Args:
        source: path of a `.keras` file, or the name of a preset such as `"s_coda_cifar10"`, which
            is taken even if there is a file of that name.

    Returns:
        The model, not compiled: `fit` and `evaluate` need `compile` first.

    Raises:
        ValueError: if there is no such file or preset, the file is not a model, would inflate to
            more than its weights need, or has weights that are not finite.

    Example:

    >>> load_model("s_coda_cifar10").classes
    10
    """
    check_exists(source)
    if str(source) in cards():
        return CoDANet.from_preset(str(source))
    try:
        keras_file.check(source)
        model = keras.models.load_model(source, compile=False)
        check_finite(model)
        return model
    except Exception as error:  # Broken files raise whatever their parser raises.
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ValueError(f"{source} cannot be loaded as a Keras model: {reason[0]}") from error


def check_finite(model: keras.Model) -> None:
    """Raises ValueError if a weight of a model is infinite or NaN."""
    for weight in model.weights:
        values = np.asarray(keras.ops.convert_to_numpy(weight))
        # bfloat16 and its like are kinds of their own to NumPy.
        if values.dtype.kind not in "biu" and not np.isfinite(values.astype("float32")).all():
            raise ValueError(
                f"{weight.path} has weights that are infinite or no numbers. "
                "Such a net predicts nothing; train it again"
            )


def image_size(model: keras.Model) -> tuple[int | None, int | None]:
    """Height and width of the images that a model takes, None where it takes any."""
    shape = getattr(model, "input_shape", None)
    return getattr(model, "image_size", None) or (shape[1:3] if shape else (None, None))


def check_fits(model: keras.Model, name: str, images: Any, classes: int) -> None:
    """Raises ValueError if a model takes images of another size than the data's, or other classes.

    A `CoDANet` computes for images of any size, but predicts well only for the size that it was
    trained on.

    Args:
        model: a built Keras model.
        name: str, the model's name in errors.
        images: `(N, H, W, 3)`.
        classes: int, of the data.
    """
    sizes = image_size(model)
    if any(size not in (None, given) for size, given in zip(sizes, images.shape[1:3])):
        raise ValueError(
            f"{name} takes images of {sizes[0]}x{sizes[1]} pixels, the data has "
            f"{images.shape[1]}x{images.shape[2]}. Choose the data that it was trained on."
        )
    outputs = getattr(model, "classes", None) or getattr(model, "output_shape", (None,))[-1]
    if outputs not in (None, classes):
        raise ValueError(
            f"{name} has {outputs} classes, the data has {classes}. Choose the data that it was "
            "trained on."
        )


def weight_bytes(model: keras.Model) -> bytes:
    """All weights of a model as bytes, to tell models apart."""
    return b"".join(np.ascontiguousarray(weight).tobytes() for weight in model.get_weights())
