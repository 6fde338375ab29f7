"""The nets that the paper's authors published, as state dicts of their PyTorch code.

Their code (https://github.com/moboehle/CoDA-Nets) builds a `nn.Sequential` of `CoDAConv2d`, whose
layer i has the parameters

    i.weight_mod.weighting_f.0.weight   (r, C, k, k)         B
    i.weight_mod.weighting_f.1.weight   (C k k f, r, 1, 1)   A, channel c, row, column, unit f
    i.weight_mod.weighting_f.1.bias     (C k k f,)           b, in the same order

and then sums over positions, divides by the temperature and adds the bias log(0.1 / 0.9). Strides,
paddings and the temperature are arguments of that code and are in no file.
"""

import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from coda_keras.data import cifar10, imagenet
from coda_keras.layers.dau import DAUConv2D
from coda_keras.models.coda_net import CoDANet
from coda_keras.models.presets import PRESETS
from coda_keras.utils.text import listed, short

# Of the data that they trained a preset of the paper on, with so many classes.
_CLASSES = {("s_coda", 10): cifar10.NAMES, ("l_coda", 100): imagenet.class_names(100)}
_KEY = re.compile(r"(\d{1,3})\.weight_mod\.weighting_f\.(0\.weight|1\.weight|1\.bias)")
_PARTS = ("0.weight", "1.weight", "1.bias")


class Layer(NamedTuple):
    """The weights of a layer as `DAUConv2D` has them.

    Attributes:
        projection: `(k, k, C, r)`, the matrix B.
        kernel: `(k, k, C, f, r)`, the matrices A.
        bias: `(k, k, C, f)`, the vectors b.
    """

    projection: np.ndarray
    kernel: np.ndarray
    bias: np.ndarray


def net(
    state: Mapping[str, np.ndarray],
    temperature: float,
) -> CoDANet:
    """Builds the net of a state dict of the authors' code, with its weights.

    Args:
        state: arrays by the names of their parameters.
        temperature: positive number T.

    Returns:
        A `CoDANet` whose logits and contributions are those of their code up to rounding. Its
        layers rescale by SQ, and have the kernel sizes, DAUs and strides of S-CoDA or L-CoDA; the
        ranks and the number of classes are those of the file. Ten classes of S-CoDA have the names
        of CIFAR-10's, 100 of L-CoDA those of ImageNet's first.

    Raises:
        ValueError: if the parameters are others; the message begins in lower case.
    """
    layers = _layers(state)
    kernel_sizes = tuple(layer.kernel.shape[0] for layer in layers)
    filters = tuple(layer.kernel.shape[3] for layer in layers)
    fitting = [
        (name, preset)
        for name, preset in PRESETS.items()
        if preset.kernel_sizes == kernel_sizes and preset.filters[:-1] == filters[:-1]
    ]
    if not fitting:
        raise ValueError(
            f"its layers have the kernel sizes {listed(kernel_sizes)} and {listed(filters)} DAUs, "
            "which are no net of the paper"
        )
    name, preset = fitting[0]
    built = CoDANet(
        [
            DAUConv2D(count, layer.kernel.shape[4], size, strides, name=f"dau_{number}")
            for number, (layer, count, size, strides) in enumerate(
                zip(layers, filters, kernel_sizes, preset.strides), start=1
            )
        ],
        temperature=temperature,
        image_size=preset.image_size,
        class_names=_CLASSES.get((name, filters[-1])),
        name=name,
    )
    for own, layer in zip(built.body, layers):
        own.set_weights(layer)
    return built


def state_dict(net: CoDANet) -> dict[str, np.ndarray]:
    """The weights of a net under the names of the authors' code, in its order.

    Raises:
        ValueError: if it has other layers than `DAUConv2D` that rescale by SQ.
    """
    state = {}
    for number, layer in enumerate(net.body):
        if type(layer) is not DAUConv2D or layer.rescale != "squash":
            raise ValueError(
                f"The authors' code has layers of DAUs that rescale by SQ alone. Layer {number} is "
                f"a {type(layer).__name__}"
                f"{'' if type(layer) is not DAUConv2D else f' with rescale={layer.rescale!r}'}."
            )
        projection, kernel, *bias = layer.get_weights()
        bias = bias[0] if bias else np.zeros(kernel.shape[:4], kernel.dtype)
        arrays = (
            projection.transpose(3, 2, 0, 1),
            kernel.transpose(2, 0, 1, 3, 4).reshape(-1, layer.rank, 1, 1),
            bias.transpose(2, 0, 1, 3).reshape(-1),
        )
        for part, array in zip(_PARTS, arrays):
            state[f"{number}.weight_mod.weighting_f.{part}"] = array
    return state


def arguments(net: CoDANet) -> dict[str, Any]:
    """What `make_coda_net` of the authors' code takes for a net, beside its state dict."""
    sizes = [layer.kernel_size for layer in net.body]
    return {
        "in_channels": 6,
        "out_chs": [layer.filters for layer in net.body],
        "ranks": [layer.rank for layer in net.body],
        "kernel_sizes": sizes,
        "strides": [layer.strides for layer in net.body],
        "paddings": [(size - 1) // 2 for size in sizes],
        "logit_bias": net.logit_bias,
        "logit_temperature": net.temperature,
    }


def _layers(state: Mapping[str, np.ndarray]) -> list[Layer]:
    foreign = [name for name in state if not _KEY.fullmatch(name)]
    if foreign:
        raise ValueError(
            f"its parameter {short(foreign[0])!r} is none of the authors' code, whose are called "
            "like '0.weight_mod.weighting_f.0.weight'"
        )
    count = math.ceil(len(state) / len(_PARTS))
    names = [f"{number}.weight_mod.weighting_f." for number in range(count)]
    missing = [name + part for name in names for part in _PARTS if name + part not in state]
    if missing:
        raise ValueError(f"it lacks the parameter {missing[0]}")
    layers, channels = [], 6
    for name in names:
        layers.append(_layer(name, channels, *(state[name + part] for part in _PARTS)))
        channels = layers[-1].kernel.shape[3]
    return layers


def _layer(
    name: str, channels: int, projection: np.ndarray, kernel: np.ndarray, bias: np.ndarray
) -> Layer:
    shapes = [array.shape for array in (projection, kernel, bias)]
    size = shapes[0][-1] if len(shapes[0]) == 4 else 0
    rank, depth = shapes[0][0] if size else 0, channels * size * size
    filters = shapes[2][0] // depth if size and len(shapes[2]) == 1 else 0
    expected = [(rank, channels, size, size), (depth * filters, rank, 1, 1), (depth * filters,)]
    if shapes != expected or not rank * filters or not size % 2:
        raise ValueError(
            f"its parameters {name}* have shapes {', '.join(map(str, shapes))}, which are not "
            f"those of a layer of DAUs on {channels} channels"
        )
    by_window = kernel.reshape(channels, size, size, filters, rank)
    return Layer(
        projection.transpose(2, 3, 1, 0),
        by_window.transpose(1, 2, 0, 3, 4),
        bias.reshape(channels, size, size, filters).transpose(1, 2, 0, 3),
    )
