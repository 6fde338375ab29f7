"""Whether a layer or a net is dynamic linear, as whoever explains it relies on."""

import inspect
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from coda_keras import backend
from coda_keras.layers.checked_subject import Subject, array
from coda_keras.layers.configs import in_dtype
from coda_keras.layers.linearity import CHECKS

DTYPES = ("float32", "mixed_bfloat16")


def check_dynamic_linear(layer: Any, inputs: Any) -> None:
    """Checks a layer or a net by what every explanation relies on.

    With `outputs, pullback = layer.linearize(x)`, for random g and for single outputs:

    - `outputs` are `layer(x)` outside of training, and `g . outputs = pullback(g) . x`, up to the
      offset that is declared (see `with_offset`): no constant is added in secret.
    - The pullback is linear in g, and an image's own whatever else is in the batch.
    - Its rows are those of the layer's own matrix, if the layer hands one out: by
      `dynamic_weights(x)` `(B, h, w, filters, k, k, C)` with a `receptive_field`, or by
      `dynamic_matrix(x)` `(B, n, m)` for n outputs and m inputs of an image. Completeness alone is
      met by nonsense such as `x (g . f(x)) / ||x||^2`.
    - Outputs, pullback and the gradient by the inputs are finite where these are zero.
    - Compiled code computes the same.
    - Outputs have the announced shape, and of layers the compute dtype, in float32, mixed_bfloat16
      and, on TensorFlow, float64.
    - Config and `.keras` file make the same layer again.

    It runs on the backend that Keras runs on; set `KERAS_BACKEND` for the others. A dynamic linear
    form is not unique. To pass means that contributions are exact, not that they are faithful.

    Args:
        layer: a Keras layer or model with `linearize`; it is not changed. Its weights are taken as
            they are, or initial ones if it is not built.
        inputs: `(B, ...)` with at least two images; of a net images in [0, 1]. Small ones will do;
            sizes that all differ find more.

    Raises:
        ValueError: if a check fails; the message says which, and by how much.

    Example:

    >>> inputs = np.random.default_rng(0).normal(size=(2, 5, 4, 3))
    >>> check_dynamic_linear(DAUConv2D(3, 2, 3), inputs)
    """
    if not callable(getattr(layer, "linearize", None)):
        raise ValueError(f"{layer!r} has no `linearize`. See `coda_keras.DynamicLinear`.")
    inputs = np.asarray(ops.convert_to_numpy(inputs), "float64")
    if len(inputs) < 2:
        raise ValueError(f"Expected at least two images. Received shape {inputs.shape}.")
    failures = list(_config(layer))
    if not failures:
        exact = ("float64",) if backend.NAME == "tensorflow" else ()
        subjects = [_subject(layer, inputs, dtype) for dtype in (*DTYPES, *exact)]
        for subject in subjects:
            found = (failure for check in CHECKS for failure in _tried(check, subject))
            failures += [f"in {subject.dtype}: {failure}" for failure in found]
        failures += _tried(_file, subjects[0])
    if failures:
        listing = "".join(f"\n- {failure}" for failure in failures)
        raise ValueError(f"{type(layer).__name__} {layer.name!r} fails the check:{listing}")


def own_arguments(made: type) -> dict[str, Any]:
    """Names of the arguments that a class adds to those of Keras, and their defaults."""
    if made.__init__.__module__.partition(".")[0] == "keras":
        return {}
    parameters = list(inspect.signature(made.__init__).parameters.values())[1:]
    named = [p for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
    return {parameter.name: parameter.default for parameter in named}


def _subject(layer: Any, inputs: np.ndarray, dtype: str) -> Subject:
    """A copy of the layer in a dtype, with its weights."""
    copy = type(layer).from_config(in_dtype(layer.get_config(), dtype))
    if not copy.built:
        copy.build(inputs.shape)
    if layer.built:
        copy.set_weights(layer.get_weights())
    return Subject(copy, inputs, dtype)


def _tried(check: Callable[[Subject], Iterator[str]], subject: Subject) -> list[str]:
    """What a check says; an error inside of the layer is a failure too."""
    try:
        return list(check(subject))
    except Exception as error:  # Layers raise whatever their backend raises.
        reason = str(error).strip().splitlines() or [""]
        return [f"{check.__doc__} {type(error).__name__}: {reason[0]}"]


def _config(layer: Any) -> Iterator[str]:
    config = layer.get_config()
    missing = [name for name in own_arguments(type(layer)) if name not in config]
    if missing:
        yield f"the config lacks the arguments {', '.join(missing)}"
        return
    try:
        serialized = keras.saving.serialize_keras_object(layer)
        again = keras.saving.deserialize_keras_object(serialized)
    except Exception as error:  # Whatever its `from_config` raises.
        yield f"the config makes no layer: {error}"
        return
    if type(again) is not type(layer) or again.get_config() != config:
        yield f"the config makes another layer: {again.get_config()} instead of {config}"


def _file(subject: Subject) -> Iterator[str]:
    """A `.keras` file makes the same layer again."""
    values = subject.inputs.astype("float32")
    images = keras.Input(values.shape[1:])
    model = subject.layer
    if not isinstance(model, keras.Model):
        model = keras.Model(images, model(images))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "checked.keras"
        model.save(path)
        again = keras.models.load_model(path, compile=False)
    error = np.abs(array(again(values)) - array(model(values))).max()
    if error:
        yield f"outputs differ by {error:.1e} after saving and loading"
