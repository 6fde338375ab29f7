"""The public check passes what is dynamic linear, and says of anything else what is wrong."""

import keras
import numpy as np
import pytest
from conftest import set_weights
from keras import ops

from coda_keras import (
    CoDANet,
    DAUConv2D,
    DynamicLinear,
    Ensemble,
    Flipped,
    check_dynamic_linear,
    with_offset,
)
from coda_keras.layers import BcosConv2D, DynamicBatchNormalization, ReLU, Residual

SHAPE = (2, 3, 4, 5)


@keras.saving.register_keras_serializable("tests")
class Double(DynamicLinear):
    """Doubles; what derives from it does something else, or says so in the wrong way."""

    def linearize(self, inputs):
        inputs = self.prepare(inputs)
        return self.outputs(inputs), lambda cotangent: self.pullback(inputs, cotangent)

    def outputs(self, inputs):
        return 2 * inputs

    def pullback(self, inputs, cotangent):
        return 2 * cotangent

    def compute_output_shape(self, input_shape):
        return input_shape


class OtherFactor(Double):
    def pullback(self, inputs, cotangent):
        return 2.1 * cotangent


class SecretConstant(Double):
    def outputs(self, inputs):
        return 2 * inputs + 0.5


class DeclaredConstant(SecretConstant):
    def linearize(self, inputs):
        outputs, pullback = super().linearize(inputs)
        return outputs, with_offset(pullback, 0.5)


class Clipped(Double):
    def pullback(self, inputs, cotangent):
        return 2 * ops.clip(cotangent, -1, 1)


class OfTheBatch(Double):
    def gate(self, inputs):
        return ops.mean(ops.abs(inputs), axis=0, keepdims=True)

    def outputs(self, inputs):
        return self.gate(inputs) * inputs

    def pullback(self, inputs, cotangent):
        return self.gate(inputs) * cotangent


class Nonsense(Double):
    """Complete, and not what it says that it multiplies by."""

    def pullback(self, inputs, cotangent):
        axes = tuple(range(1, len(inputs.shape)))
        along = ops.sum(cotangent * 2 * inputs, axis=axes, keepdims=True)
        return inputs * along / ops.sum(inputs * inputs, axis=axes, keepdims=True)

    def dynamic_matrix(self, inputs):
        size = int(np.prod(inputs.shape[1:]))
        return ops.broadcast_to(2 * ops.eye(size, dtype=inputs.dtype), (len(inputs), size, size))


class SteepAtZero(Double):
    def gate(self, inputs):
        squares = ops.sum(inputs * inputs, axis=-1, keepdims=True)
        return ops.where(squares > 0, ops.power(squares, -0.5), 0)

    outputs = OfTheBatch.outputs
    pullback = OfTheBatch.pullback


class OnTheHost(Double):
    def outputs(self, inputs):
        values = ops.convert_to_numpy(ops.cast(inputs, "float32"))
        return ops.cast(ops.convert_to_tensor(2 * values), inputs.dtype)


class AlwaysFloat32(Double):
    def outputs(self, inputs):
        return ops.cast(2 * inputs, "float32")


class OtherCall(Double):
    def call(self, inputs):
        return 3 * inputs


class OtherShape(Double):
    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], 7)


class Forgetful(Double):
    def __init__(self, factor=2.0, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def get_config(self):
        return {name: value for name, value in super().get_config().items() if name != "factor"}


class Unsaved(Double):
    """Its factor is in neither config nor weights."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.factor = float(np.random.default_rng().uniform(1, 2))

    def outputs(self, inputs):
        return self.factor * inputs

    def pullback(self, inputs, cotangent):
        return self.factor * cotangent


MADE = {cls.__name__: cls for cls in Double.__subclasses__() + SecretConstant.__subclasses__()}


@pytest.mark.parametrize(
    ("cls", "message"),
    [
        (
            OtherFactor,
            "in float32: what the pullback attributes to the inputs is not the outputs, by",
        ),
        (SecretConstant, "declare it by `with_offset`"),
        (Clipped, "the pullback is not linear in g, by"),
        (OfTheBatch, "outputs of an image depend on the others of its batch, by"),
        (Nonsense, "is not that of the layer's matrix, by"),
        (SteepAtZero, "gradients are not finite where inputs are zero"),
        (AlwaysFloat32, "in mixed_bfloat16: outputs have dtype float32 instead of bfloat16"),
        (OtherCall, "returns other outputs than the call, by 2.0e-01"),
        (OtherShape, "announced are"),
        (Forgetful, "the config lacks the arguments factor"),
        (Unsaved, "outputs differ by .* after saving and loading"),
        pytest.param(OnTheHost, "Compiled code computes the same", marks=pytest.mark.tensorflow),
    ],
)
def test_it_says_what_fails(cls, message, rng):
    expected = f"{cls.__name__} .* fails the check:(.|\n)*{message}"
    with keras.saving.custom_object_scope(MADE), pytest.raises(ValueError, match=expected):
        check_dynamic_linear(cls(), rng.normal(size=SHAPE))


@pytest.mark.parametrize("layer", [Double(), DeclaredConstant()])
def test_it_passes_layers_of_ones_own(layer, rng):
    with keras.saving.custom_object_scope(MADE):
        check_dynamic_linear(layer, rng.normal(size=SHAPE))


@pytest.mark.slow_on_jax
def test_it_passes_nets_and_leaves_them_as_they_are(rng):
    layers = [
        BcosConv2D(6, 3),
        DynamicBatchNormalization(),
        Residual([BcosConv2D(6, 3), ReLU()]),
        DAUConv2D(4, 3, 3, strides=2),
    ]
    net = CoDANet(layers, temperature=3.0, image_size=(7, 6))
    set_weights(net, rng)
    before = net.get_weights()
    images = rng.uniform(size=(2, 7, 6, 3))
    check_dynamic_linear(net, images)
    check_dynamic_linear(Ensemble([net, Flipped(net)], [0.75, 0.25]), images)
    for one, other in zip(before, net.get_weights()):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("layer", "inputs", "message"),
    [
        (keras.layers.Dense(3), np.zeros(SHAPE), "has no `linearize`"),
        (ReLU(), np.zeros((1, 3)), "at least two images"),
    ],
)
def test_it_refuses_what_it_cannot_check(layer, inputs, message):
    with pytest.raises(ValueError, match=message):
        check_dynamic_linear(layer, inputs)
