"""The shared check on every layer that is registered under the package's name."""

import importlib
import inspect

import keras
import pytest
from conftest import library_modules, set_weights
from layer_check import check_config

from coda_keras import (
    CoDANet,
    DAUConv2D,
    Ensemble,
    Flipped,
    GlobalPatch2D,
    GlobalSumPooling2D,
    OneVsAllAccuracy,
    OneVsAllCrossentropy,
    Shifted,
    TemperatureScaling,
    check_dynamic_linear,
)
from coda_keras.layers import (
    AveragePooling2D,
    BcosConv2D,
    BcosDense,
    Chain,
    DynamicBatchNormalization,
    DynamicLayerNormalization,
    DynamicSelfAttention,
    GlobalAveragePooling2D,
    MaxOut,
    MaxPooling2D,
    Parallel,
    Patches2D,
    ReLU,
    Residual,
    SinCosPositions2D,
)
from coda_keras.layers.checking import own_arguments
from coda_keras.models.airbench import Bias, PartialIdentity
from coda_keras.models.resnet import PaddedShortcut
from coda_keras.training.annealing import AnnealedCrossentropy
from coda_keras.training.confusion import ConfusionAccuracy
from coda_keras.training.optimizers import DAUMuon
from coda_keras.training.schedules import Trapezoid, Warmup

PLAIN = {"filters": 3, "rank": 2, "kernel_size": 3}
UNUSUAL = {
    **PLAIN,
    "strides": 2,
    "rescale": "l2",
    "implementation": "patches",
    "use_bias": False,
    "projection_initializer": keras.initializers.RandomNormal(stddev=0.5),
    "kernel_initializer": "ones",
    "bias_initializer": "zeros",
    "projection_regularizer": keras.regularizers.L2(0.1),
    "kernel_regularizer": "l1",
    "bias_regularizer": keras.regularizers.L1(0.3),
}

BCOS = {
    "b": 1.5,
    "max_out": 2,
    "kernel_initializer": keras.initializers.RandomNormal(stddev=0.5),
    "kernel_regularizer": "l2",
}


class Inner:
    """Layers within layers, made anew and in the same precision as the layer around them."""

    def __init__(self, **layers):
        self.layers = layers

    def __call__(self, dtype=None):
        return {name: self._made(value, dtype) for name, value in self.layers.items()}

    def _made(self, value, dtype):
        if isinstance(value, (list, tuple)):
            return [self._made(one, dtype) for one in value]
        return value(dtype=dtype) if callable(value) else value


def _made(layer, arguments, **kwargs):
    if isinstance(arguments, Inner):
        arguments = arguments(kwargs.get("dtype"))
    return layer(**arguments, **kwargs)


def _units(dtype):
    return BcosConv2D(4, 3, dtype=dtype)


def _strided(dtype):
    return DAUConv2D(3, 2, 3, strides=2, dtype=dtype)


# A line for every layer; every argument with a default has another value in one of them.
LAYERS = [
    (DAUConv2D, PLAIN),
    (DAUConv2D, UNUSUAL),
    (GlobalPatch2D, {}),
    (GlobalSumPooling2D, {}),
    (TemperatureScaling, {"temperature": 12.5}),
    (BcosConv2D, {"filters": 3, "kernel_size": 3}),
    (BcosConv2D, {"filters": 3, "kernel_size": 3, "strides": 2, **BCOS}),
    (BcosDense, {"units": 3}),
    (BcosDense, {"units": 3, **BCOS}),
    (AveragePooling2D, {"pool_size": 3, "strides": 2}),
    (MaxPooling2D, {"pool_size": 2, "strides": 1}),
    (GlobalAveragePooling2D, {}),
    (Patches2D, {"size": 1}),
    (ReLU, {}),
    (MaxOut, {"pieces": 2}),
    (DynamicBatchNormalization, {"momentum": 0.5, "epsilon": 0.1, "scale": False}),
    (DynamicBatchNormalization, {}),
    (DynamicLayerNormalization, {"epsilon": 0.1}),
    (DynamicLayerNormalization, {"axis": (1, 2, 3), "scale": False, "center": False}),
    (DynamicSelfAttention, {"heads": 2, "dimensions": 3, "kernel_initializer": "he_normal"}),
    (Chain, Inner(layers=[_units, ReLU, _strided])),
    (Parallel, Inner(branches=[_units, [], [_units, ReLU]])),
    (Parallel, Inner(branches=[_units, [_units]], merge="sum")),
    (Residual, Inner(layers=[ReLU, _units])),
    (Residual, Inner(layers=_strided, shortcut=[_strided])),
]

# What else `.keras` files may name, with arguments other than their defaults.
NET = {"temperature": 3.0, "logit_bias": 0.5, "image_size": (9, 8), "regularisation": 0.5}
OTHERS = [
    (SinCosPositions2D, {"temperature": 100.0, "dtype": "mixed_bfloat16", "trainable": False}),
    (CoDANet, {**NET, "dtype": "mixed_bfloat16", "trainable": False}),
    (PaddedShortcut, {"filters": 5, "strides": 2, "dtype": "bfloat16", "trainable": False}),
    (Flipped, {"dtype": "float32", "trainable": False}),
    (Shifted, {"rows": 1, "columns": -2, "fill": "zeros", "dtype": "float32", "trainable": False}),
    (Ensemble, {"weights": [0.25, 0.75], "dtype": "float32", "trainable": False}),
    (OneVsAllCrossentropy, {"reduction": "sum", "dtype": "bfloat16"}),
    (OneVsAllAccuracy, {"dtype": "bfloat16"}),
    (Bias, {"dtype": "bfloat16", "trainable": False}),
    (PartialIdentity, {"seed": 5}),
    (ConfusionAccuracy, {"classes": 3, "dtype": "bfloat16"}),
    (
        DAUMuon,
        {
            "learning_rate": 0.5,
            "momentum": 0.5,
            "beta_1": 0.5,
            "beta_2": 0.5,
            "epsilon": 0.5,
            "steps": 2,
            "rms_rate": 0.5,
            "fixed_norms": True,
            "adam_rate": 0.5,
        },
    ),
    (Trapezoid, {"peak": 0.5, "warmup": 1, "decay": 2, "total": 4}),
    (Warmup, {"schedule": Trapezoid(0.5, 1, 2, 4), "start": 0.25, "steps": 1}),
    (
        AnnealedCrossentropy,
        {
            "temperature": 9.0,
            "start": 3.0,
            "steps": 5,
            "logit_bias": -1.0,
            "areas": [(0, 0.25), (3, 1.0)],
            "reduction": "sum",
        },
    ),
]


def test_everything_registered_is_checked():
    for name in library_modules():
        importlib.import_module(name)
    objects = keras.saving.get_custom_objects().items()
    registered = {cls for name, cls in objects if name.startswith("coda_keras>")}
    assert registered == {cls for cls, _ in LAYERS + OTHERS}


@pytest.mark.parametrize(("layer", "arguments"), LAYERS)
def test_layer(layer, arguments, rng):
    made = _made(layer, arguments)
    inputs = rng.normal(size=(2, 7, 6, 4))
    made.build(inputs.shape)
    set_weights(made, rng)
    check_dynamic_linear(made, inputs)


@pytest.mark.parametrize("layer", {layer: None for layer, _ in LAYERS})
def test_every_argument_is_tried(layer):
    cases = [_made(cls, arguments).get_config() for cls, arguments in LAYERS if cls is layer]
    for name, default in own_arguments(layer).items():
        if default is not inspect.Parameter.empty:
            assert any(config[name] != default for config in cases), name


@pytest.mark.parametrize(("cls", "arguments"), OTHERS)
def test_config(cls, arguments):
    layers = [DAUConv2D(3, 2, 1), DAUConv2D(4, 2, 3, strides=2)]
    net = CoDANet(layers)
    more = {
        CoDANet: {"layers": layers},
        Ensemble: {"members": [net, Flipped(Shifted(net, 1))]},
        Flipped: {"net": net},
        Shifted: {"net": net},
    }.get(cls, {})
    if not issubclass(cls, keras.initializers.Initializer):
        more["name"] = "mine"
    check_config(cls, **more, **arguments)


def test_defaults_survive_the_config():
    layer = DAUConv2D(2, 3, 1)
    assert DAUConv2D.from_config(layer.get_config()).get_config() == layer.get_config()
    net = CoDANet([layer])
    assert CoDANet.from_config(net.get_config()).get_config() == net.get_config()
