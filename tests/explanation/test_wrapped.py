"""Models of Keras that wrap a net, or end in dynamic linear layers, are explained too."""

import gc
import weakref

import keras
import numpy as np
import pytest
from keras import ops

from coda_keras import (
    CoDANet,
    DAUConv2D,
    GlobalSumPooling2D,
    TemperatureScaling,
    encode,
    explain,
    explain_dataset,
)

CLASSES = 4
TEMPERATURE = 3.0


def make_net():
    layers = [DAUConv2D(5, 3, 3, strides=2), DAUConv2D(CLASSES, 3, 1)]
    return CoDANet(layers, temperature=TEMPERATURE, image_size=(7, 6), name="inner")


@pytest.fixture(scope="module")
def net():
    return make_net()


@pytest.fixture
def images(rng):
    return rng.uniform(size=(3, 7, 6, 3)).astype("float32")


def assert_equal(one, other, **skipped):
    one, other = one.numpy().arrays(), other.numpy().arrays()
    for name in one:
        expected = skipped.get(name, other[name])
        np.testing.assert_allclose(one[name], expected, rtol=1e-4, atol=2e-6, err_msg=name)


@pytest.mark.parametrize("class_ids", [None, [1, 0, 3], "all"])
def test_a_net_after_preprocessing(class_ids, net, images):
    pixels = np.rint(255 * images)
    model = keras.Sequential([keras.Input((7, 6, 3)), keras.layers.Rescaling(1 / 255), net])
    expected = net.explain((pixels / 255).astype("float32"), class_ids)
    for given in (pixels.astype("uint8"), pixels.astype("float32")):
        assert_equal(explain(model, given, class_ids), expected)
    with pytest.raises(ValueError, match=r"image values in \[0, 1\]"):
        explain(model, 255 * pixels)
    with pytest.raises(ValueError, match=r"wraps one: give model.get_layer\('inner'\)"):
        explain_dataset(model, [pixels])


def test_a_sequential_that_was_built_by_a_call(net, images):
    model = keras.Sequential([keras.layers.Rescaling(0.5), net])
    with pytest.raises(ValueError, match="a built Keras model"):
        explain(model, images)
    model(images)
    assert_equal(explain(model, images, 1), net.explain(images / 2, 1))


def test_a_sequential_whose_end_changes(images):
    model = keras.Sequential([keras.Input((7, 6, 6)), DAUConv2D(CLASSES, 3, 3)])
    model.add(GlobalSumPooling2D())
    encoded = encode(ops.convert_to_tensor(images))
    before = explain(model, encoded, 1).numpy()
    model.add(TemperatureScaling(TEMPERATURE))
    after = explain(model, encoded, 1).numpy()
    np.testing.assert_allclose(after.logits, before.logits / TEMPERATURE, rtol=1e-5)
    np.testing.assert_allclose(after.logits, model.predict(encoded, verbose=0), rtol=1e-5)


@pytest.mark.parametrize("encoded", [False, True])
def test_a_functional_stack_of_layers(encoded, net, images):
    inputs = keras.Input((7, 6, 6 if encoded else 3))
    outputs = inputs if encoded else encode(inputs)
    for layer in [*net.body, GlobalSumPooling2D(), TemperatureScaling(TEMPERATURE)]:
        outputs = layer(outputs)
    model = keras.Model(inputs, outputs)
    given = encode(ops.convert_to_tensor(images)) if encoded else images
    expected = net.explain(images, [1, 0, 3])
    logits = ops.convert_to_numpy(expected.logits) - net.logit_bias
    assert_equal(explain(model, given, [1, 0, 3]), expected, logits=logits, bias=0.0)


def test_a_head_is_explained_down_to_the_features(images, rng):
    inputs = keras.Input((7, 6, 3))
    features = keras.layers.Conv2D(8, 3, activation="relu")(inputs)
    features = keras.layers.Dropout(0.5)(features)
    outputs = GlobalSumPooling2D()(DAUConv2D(CLASSES, 3, 3)(features))
    model, backbone = keras.Model(inputs, outputs), keras.Model(inputs, features)
    explanation = explain(model, images, [[0, 3], [1, 1], [2, 0]]).numpy()
    assert explanation.contributions.shape == (3, 2, 5, 4, 8)
    assert explanation.contribution_map.shape == (3, 2, 5, 4)
    seen = ops.convert_to_numpy(backbone(images))[:, None]
    np.testing.assert_allclose(explanation.contributions, explanation.weights * seen, rtol=1e-4)
    np.testing.assert_allclose(explanation.logits, ops.convert_to_numpy(model(images)), rtol=1e-4)
    assert explanation.bias == 0
    assert np.all(np.abs(explanation.residual) < 1e-5)
    assert "features" in repr(explanation)
    # New weights are seen.
    model.set_weights([2 * ops.convert_to_numpy(weight) for weight in model.get_weights()])
    again = explain(model, images, [[0, 3], [1, 1], [2, 0]]).numpy()
    np.testing.assert_allclose(again.logits, ops.convert_to_numpy(model(images)), rtol=1e-4)


def test_models_are_not_kept_alive(images):
    model = keras.Sequential([keras.Input((7, 6, 3)), keras.layers.Rescaling(0.5), make_net()])
    explain(model, images)
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None


def test_other_models_are_told_what_to_do(net, images):
    inputs = keras.Input((7, 6, 3))
    flat = keras.layers.Flatten()(inputs)
    maps = DAUConv2D(CLASSES, 3, 3)(inputs)
    models = {
        "last operation 'dense' is not dynamic linear": keras.layers.Dense(3, name="dense")(flat),
        "last operation 'sigmoid' is not": keras.layers.Activation("sigmoid", name="sigmoid")(
            net(inputs)
        ),
        "end in GlobalSumPooling2D": maps,
        "begin before any pooling": TemperatureScaling(2.0)(flat),
        "Give them to one CoDANet": TemperatureScaling(2.0)(net(inputs)),
    }
    for message, outputs in models.items():
        with pytest.raises(ValueError, match=message):
            explain(keras.Model(inputs, outputs), images)
    for model in (print, keras.Model(inputs, [maps, flat])):
        with pytest.raises(ValueError, match="Expected a CoDANet"):
            explain(model, images)
