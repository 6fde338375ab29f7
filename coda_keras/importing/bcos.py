"""Nets of B-cos v2 from the state dicts of its code (https://github.com/B-cos/B-cos-v2).

A layer of ours called `layer1_0_conv1` is the module `layer1.0.conv1` there. Convolutions and
linear layers have `linear.weight`, norms `weight` and `running_var`, attention `weight` of Q, K and
V together.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from coda_keras.data import imagenet
from coda_keras.layers.attention import DynamicSelfAttention
from coda_keras.layers.bcos import BcosDense
from coda_keras.layers.bcos_conv import BcosConv2D
from coda_keras.layers.normalization import DynamicBatchNormalization, DynamicLayerNormalization
from coda_keras.models.bcos import bcos_net
from coda_keras.models.coda_net import CoDANet
from coda_keras.utils.text import listed, short

# The parameters of a layer in the order of its weights, and what each becomes.
Parameters = list[tuple[str, Callable[[np.ndarray], list[np.ndarray]]]]
_LAYERS: dict[type, Parameters] = {
    BcosConv2D: [("linear_weight", lambda array: [array.transpose(2, 3, 1, 0)])],
    BcosDense: [("linear_weight", lambda array: [array.T])],
    DynamicBatchNormalization: [
        ("weight", lambda array: [array]),
        ("running_var", lambda array: [array]),
    ],
    DynamicLayerNormalization: [("weight", lambda array: [array])],
    DynamicSelfAttention: [("weight", lambda array: [part.T for part in np.split(array, 3)])],
}
# A mean that is not subtracted, and a count of steps.
_UNUSED = ("_running_mean", "_num_batches_tracked")
# A layer of so many classes is made before its weights are compared with those of the file.
MAX_CLASSES = 2**16
# The parameter of the last layer, a row for every class.
_LAST = ("fc_linear_weight", "classifier_linear_weight", "linear_head_linear_linear_weight")


def net(state: Mapping[str, np.ndarray], architecture: str) -> CoDANet:
    """Builds the net of a state dict of B-cos v2, with its weights.

    Args:
        state: arrays by the names of their parameters; `0.` before all of them is left out.
        architecture: a name in `coda_keras.models.bcos.ARCHITECTURES`.

    Returns:
        A `CoDANet` for images of 224x224 pixels, whose logits and contributions are those of their
        code up to rounding. A thousand classes have the names of ImageNet's.

    Raises:
        ValueError: if the parameters are others; the message begins in lower case.
    """
    prefix = "0." if all(name.startswith("0.") for name in state) else ""
    state = {name.removeprefix(prefix).replace(".", "_"): array for name, array in state.items()}
    last = [state[name] for name in _LAST if name in state]
    if len(last) != 1 or last[0].ndim < 2:
        raise ValueError(
            f"it has no last layer of a {architecture}, but parameters such as {listed(state, 3)}"
        )
    classes = len(last[0])
    if not 2 <= classes <= MAX_CLASSES:
        raise ValueError(f"it has {classes} classes. Expected 2 to {MAX_CLASSES}")
    names = imagenet.class_names() if classes == 1000 else None
    built = bcos_net(architecture, classes, class_names=names)
    used = set()
    for layer in leaves(built.body):
        parameters = _LAYERS.get(type(layer), [])
        arrays: list[np.ndarray] = []
        for name, convert in parameters:
            name = f"{layer.name}_{name}"
            if name not in state:
                raise ValueError(f"it lacks the parameter {name}, as a {architecture} has it")
            used.add(name)
            arrays += _converted(name, state[name], convert)
        expected = [tuple(weight.shape) for weight in layer.weights]
        if [array.shape for array in arrays] != expected:
            raise ValueError(
                f"its parameters of {layer.name} have shapes {listed(a.shape for a in arrays)}, "
                f"those of a {architecture} {listed(expected)}"
            )
        layer.set_weights(arrays)
    foreign = [name for name in state if name not in used and not name.endswith(_UNUSED)]
    if foreign:
        raise ValueError(f"its parameter {short(foreign[0])!r} is none of a {architecture}")
    return built


def leaves(layers: Iterable[Any]) -> Iterator[Any]:
    """The layers that are made of no others, in their order."""
    for layer in layers:
        members = getattr(layer, "members", None) or getattr(layer, "branches", None)
        if members is None:
            yield layer
        else:
            yield from leaves(members)


def _converted(name, array, convert):
    try:
        return convert(array)
    except ValueError as error:
        raise ValueError(f"its {name} has the shape {array.shape}") from error
