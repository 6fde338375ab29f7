import keras
import numpy as np
import pytest

from coda_keras import (
    CoDANet,
    DAUConv2D,
    DynamicLinear,
    attribution,
    evaluation,
    with_offset,
)

IMAGES = np.random.default_rng(0).random((3, 8, 8, 3), "float32")
CLASS_IDS = np.array([0, 1, 1])


def scores(model, attribute):
    return evaluation.get("completeness").measure(model, IMAGES, CLASS_IDS, attribute)["scores"]


def spread(values):
    """Maps with these sums."""
    return lambda *args: np.ones((3, 8, 8)) * np.asarray(values)[:, None, None] / 64


class WithBias:
    logit_bias = -2.0

    def __call__(self, images):
        return np.array([[1.0, 9.0], [9.0, -1.0], [9.0, -2.0]])


def test_known_logits_and_sums():
    # Logits less bias are 3, 1 and 0; the last is below the floor of 0.01.
    errors = scores(WithBias(), spread([3.0, 1.5, 0.005]))
    np.testing.assert_allclose(errors, [0, 0.5, 0.5], atol=1e-12)
    np.testing.assert_allclose(scores(WithBias(), spread([0, 0, 0])), [1, 1, 0])


def test_ordinary_model_is_compared_with_its_logit_of_black():
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(4, 3, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(2, bias_initializer="normal"),
        ]
    )
    logits = keras.ops.convert_to_numpy(model(IMAGES)).astype("float64")
    black = keras.ops.convert_to_numpy(model(np.zeros_like(IMAGES))).astype("float64")
    difference = (logits - black)[np.arange(3), CLASS_IDS]
    np.testing.assert_allclose(scores(model, spread(difference)), 0, atol=1e-5)
    np.testing.assert_allclose(scores(model, spread(3 * difference)), 2, rtol=1e-4)
    many = attribution.get("integrated_gradients", steps=100)
    assert scores(model, many).max() < 0.02


def test_contributions_of_a_coda_net_are_complete_and_others_are_not():
    net = CoDANet([DAUConv2D(4, 4, 3), DAUConv2D(2, 4, 3)], temperature=1.0)
    own = attribution.get("contributions")
    assert scores(net, own).max() < 1e-4
    assert scores(net, lambda *args: 1.5 * own(*args)) == pytest.approx(0.5, abs=1e-4)


class Brighten(DynamicLinear):
    def linearize(self, inputs):
        inputs = self.prepare(inputs)
        return inputs + 0.5, with_offset(lambda cotangent: cotangent, 0.5)


def test_constants_inside_of_a_net_are_no_part_of_what_maps_explain():
    layers = [Brighten(), DAUConv2D(4, 4, 3), DAUConv2D(2, 4, 3)]
    net = CoDANet(layers, temperature=1.0)
    assert np.abs(net.explain(IMAGES, CLASS_IDS).numpy().offset).min() > 0.01
    assert scores(net, attribution.get("contributions")).max() < 1e-4
