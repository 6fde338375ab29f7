import keras
import numpy as np
import pytest
from conftest import set_weights
from keras import ops

from coda_keras import (
    CoDANet,
    DAUConv2D,
    DynamicLinear,
    GlobalSumPooling2D,
    TemperatureScaling,
    linearize,
)


@keras.saving.register_keras_serializable("tests")
class SelfGate(DynamicLinear):
    """A user's own layer by the base class: `y = sigmoid(x) x`."""

    def linearize(self, inputs):
        inputs = self.prepare(inputs)
        gate = ops.sigmoid(inputs)
        return gate * inputs, lambda cotangent: gate * cotangent


@keras.saving.register_keras_serializable("tests")
class Mix(keras.layers.Layer):
    """A user's own layer without the base class: an ordinary linear map of the channels."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units

    def build(self, input_shape):
        self.matrix = self.add_weight(name="matrix", shape=(input_shape[-1], self.units))
        self.built = True

    def call(self, inputs):
        return ops.matmul(inputs, self.matrix)

    def linearize(self, inputs):
        return self(inputs), lambda cotangent: ops.matmul(cotangent, ops.transpose(self.matrix))

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.units)

    def get_config(self):
        return {**super().get_config(), "units": self.units}


def _numpy(tensor):
    return ops.convert_to_numpy(tensor)


def test_sum_pooling(rng):
    inputs = rng.normal(size=(2, 4, 3, 5)).astype("float32")
    layer = GlobalSumPooling2D()
    outputs, pullback = layer.linearize(inputs)
    np.testing.assert_allclose(_numpy(outputs), inputs.sum(axis=(1, 2)), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(_numpy(layer(inputs)), _numpy(outputs))
    cotangent = rng.normal(size=(2, 5)).astype("float32")
    pulled = _numpy(pullback(ops.convert_to_tensor(cotangent)))
    assert pulled.shape == inputs.shape
    np.testing.assert_array_equal(pulled, np.broadcast_to(cotangent[:, None, None], inputs.shape))
    assert layer.compute_output_shape((None, 4, 3, 5)) == (None, 5)


def test_temperature(rng):
    inputs = rng.normal(size=(2, 5)).astype("float32")
    layer = TemperatureScaling(40)
    outputs, pullback = layer.linearize(inputs)
    np.testing.assert_allclose(_numpy(outputs), inputs / 40, rtol=1e-6)
    np.testing.assert_allclose(_numpy(pullback(outputs)), inputs / 1600, rtol=1e-6)


@pytest.mark.parametrize("temperature", [0, -1.0, float("nan")])
def test_temperature_must_be_positive(temperature):
    with pytest.raises(ValueError, match=r"`temperature` must be a positive number.*temperature="):
        TemperatureScaling(temperature)


def test_composition_applies_pullbacks_backwards(rng):
    layers = [Mix(3), SelfGate(), Mix(5), TemperatureScaling(2.0)]
    x = rng.normal(size=(4, 2)).astype("float32")
    outputs, pullback = linearize(layers, ops.convert_to_tensor(x))
    first, second = _numpy(layers[0].matrix), _numpy(layers[2].matrix)
    hidden = x @ first
    gate = 1 / (1 + np.exp(-hidden))
    np.testing.assert_allclose(_numpy(outputs), (gate * hidden) @ second / 2, rtol=1e-4, atol=1e-6)
    cotangent = rng.normal(size=(4, 5)).astype("float32")
    expected = (cotangent / 2 @ second.T * gate) @ first.T
    pulled = pullback(ops.convert_to_tensor(cotangent))
    np.testing.assert_allclose(_numpy(pulled), expected, rtol=1e-4, atol=1e-6)


def test_no_layers_are_the_identity(rng):
    x = ops.convert_to_tensor(rng.normal(size=(2, 3)).astype("float32"))
    outputs, pullback = linearize([], x)
    np.testing.assert_array_equal(_numpy(outputs), _numpy(x))
    np.testing.assert_array_equal(_numpy(pullback(x)), _numpy(x))


def test_base_class_asks_for_linearize():
    with pytest.raises(NotImplementedError, match="DynamicLinear must implement `linearize"):
        DynamicLinear().linearize(np.zeros((1, 2)))


def test_own_layers_in_a_net_explain_themselves(rng):
    layers = [Mix(4), DAUConv2D(6, 3, 3, strides=2, rescale="l2"), SelfGate(), DAUConv2D(5, 2, 1)]
    net = CoDANet(layers, temperature=3.0, image_size=7)
    set_weights(net, rng)
    images = rng.uniform(size=(2, 7, 7, 3)).astype("float32")
    explanation = net.explain(images, "all").numpy()
    np.testing.assert_allclose(explanation.logits, _numpy(net(images)), rtol=1e-5)
    sums = explanation.contributions.sum(axis=(-3, -2, -1)) + explanation.bias
    np.testing.assert_allclose(sums, explanation.logits, rtol=1e-4, atol=1e-5)
    assert np.std(explanation.contributions) > 1e-4


def test_own_layers_survive_saving(rng, tmp_path):
    net = CoDANet([Mix(4), SelfGate(), DAUConv2D(5, 2, 1)], temperature=3.0, image_size=5)
    images = rng.uniform(size=(2, 5, 5, 3)).astype("float32")
    net.save(tmp_path / "net.keras")
    loaded = keras.models.load_model(tmp_path / "net.keras")
    np.testing.assert_array_equal(_numpy(loaded(images)), _numpy(net(images)))
