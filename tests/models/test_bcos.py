"""B-cos networks: their sizes, and what a small one is made of."""

import keras
import numpy as np
import pytest
from keras import ops

from coda_keras.models.bcos import ARCHITECTURES, bcos_net

# Of 1,000 classes, in millions, as the code of B-cos v2 lists them.
PARAMETERS = {
    "resnet_18": 11.69,
    "resnet_50": 25.54,
    "densenet_121": 7.95,
    "simple_vit_ti_patch16_224": 5.80,
}
SMALL = {"resnet_18": 64, "densenet_121": 64, "simple_vit_ti_patch16_224": 32}


@pytest.mark.once
@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_are_as_many(name):
    # Nothing is drawn for what is only counted.
    with keras.StatelessScope(initialize_variables=False):
        net = bcos_net(name, image_size=64)
        counted = sum(int(np.prod(weight.shape)) for weight in net.trainable_weights)
        assert net.classes == 1000
    assert counted / 1e6 == pytest.approx(PARAMETERS[name], abs=0.006)
    assert net.logit_bias == pytest.approx(-np.log(999))


@pytest.mark.once
def test_names_and_arguments_are_checked():
    assert "resnet_50" in ARCHITECTURES
    with pytest.raises(ValueError, match="Unknown `architecture`: 'resnet50'"):
        bcos_net("resnet50")
    for classes in (1, 0, 2.5):
        with pytest.raises(ValueError, match="`classes` must be"):
            bcos_net("resnet_18", classes=classes)


@pytest.mark.slow_on_jax
@pytest.mark.parametrize("name", ["simple_vit_ti_patch16_224"])
def test_logits_are_sums_of_contributions_and_what_is_added(name):
    net = bcos_net(name, classes=3, image_size=SMALL[name])
    net.run_eagerly = True
    images = np.random.default_rng(0).uniform(size=(2, *net.image_size, 3)).astype("float32")
    outputs, pullback = net.linearize(images)
    from coda_keras.layers.encoding import encode
    from coda_keras.layers.offset import pull

    encoded = encode(ops.convert_to_tensor(images))
    back, offset = pull(pullback, ops.one_hot(ops.array([0, 2]), 3))
    summed = ops.convert_to_numpy(ops.sum(back * encoded, axis=(1, 2, 3)) + offset)
    outputs = ops.convert_to_numpy(outputs)
    np.testing.assert_allclose(summed, outputs[[0, 1], [0, 2]], rtol=1e-3, atol=1e-5)


@pytest.mark.once
def test_what_is_saved_is_loaded(tmp_path):
    net = bcos_net("resnet_18", classes=2, image_size=32)
    net.save(tmp_path / "net.keras")
    from coda_keras import load_model

    loaded = load_model(tmp_path / "net.keras")
    assert [layer.name for layer in loaded.body] == [layer.name for layer in net.body]
    for weight, other in zip(loaded.get_weights(), net.get_weights()):
        np.testing.assert_array_equal(weight, other)
