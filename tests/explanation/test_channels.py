"""Contributions of channels inside: they sum to the logit, and their maps to them."""

import numpy as np
import pytest
from conftest import set_weights
from keras import ops

from coda_keras import CoDANet, DAUConv2D
from coda_keras.explanation.channels import layer_contributions, strongest_channels

CLASS_IDS = np.array([2, 0, 1])


@pytest.fixture
def net(rng):
    layers = [
        DAUConv2D(6, 4, 3, name="first"),
        DAUConv2D(5, 4, 3, strides=2, name="second"),
        DAUConv2D(4, 4, 1, name="third"),
    ]
    net = CoDANet(layers, temperature=3, image_size=(7, 8))
    set_weights(net, rng)
    return net


@pytest.fixture
def images(rng):
    return rng.uniform(size=(3, 7, 8, 3)).astype("float32")


def test_they_are_the_strongest_of_explain_layer(net, images):
    top = strongest_channels(net, images, CLASS_IDS, count=2)
    assert top.names == ("first", "second", "third")
    assert top.channels.shape == top.contributions.shape == (3, 3, 2)
    for layer in range(3):
        whole = net.explain_layer(images, "logits", CLASS_IDS, from_layer=layer + 1)
        sums = ops.convert_to_numpy(whole.contributions).sum((1, 2))
        np.testing.assert_array_equal(top.channels[:, layer], np.argsort(-sums)[:, :2])
        expected = -np.sort(-sums)[:, :2]
        np.testing.assert_allclose(top.contributions[:, layer], expected, atol=1e-5)


def test_maps_sum_to_the_contributions(net, images):
    top = strongest_channels(net, images, CLASS_IDS, count=3)
    np.testing.assert_allclose(top.maps.sum((-2, -1)), top.contributions, atol=1e-5)


def test_maps_of_all_channels_sum_to_the_map_of_the_class(net, images):
    explained = strongest_channels(net, images, CLASS_IDS, count=4)
    explanation = net.explain(images, CLASS_IDS).numpy()
    np.testing.assert_allclose(explained.maps[:, 2].sum(1), explanation.contribution_map, atol=1e-5)
    # The last layer has a channel a class, and only that of the class itself counts.
    assert (explained.contributions[:, 2] != 0).sum(1).tolist() == [1, 1, 1]


def test_layers_contribute_as_explain_layer_has_it(net, images):
    by_layer = layer_contributions(net, images, CLASS_IDS)
    assert [values.shape[-1] for values in by_layer] == [6, 6, 5, 4]
    for depth, values in enumerate(by_layer):
        expected = net.explain_layer(images, "logits", CLASS_IDS, from_layer=depth)
        expected = ops.convert_to_numpy(expected.contributions)
        np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-6)


def test_maps_of_channels_themselves_are_those_of_explain_layer(net, images):
    of_channels = strongest_channels(net, images, CLASS_IDS, count=2, explained="channel")
    of_logits = strongest_channels(net, images, CLASS_IDS, count=2)
    np.testing.assert_array_equal(of_channels.channels, of_logits.channels)
    np.testing.assert_array_equal(of_channels.contributions, of_logits.contributions)
    for layer, rank in np.ndindex(3, 2):
        of_channel = net.explain_layer(images, layer + 1, of_channels.channels[:, layer, rank])
        expected = ops.convert_to_numpy(of_channel.contribution_map)
        np.testing.assert_allclose(of_channels.maps[:, layer, rank], expected, rtol=1e-5, atol=1e-6)


def test_images_pass_once(net, images, monkeypatch):
    passes = []
    for number, layer in enumerate(net.body):
        linearize = layer.linearize
        monkeypatch.setattr(
            layer,
            "linearize",
            lambda x, number=number, linearize=linearize: passes.append(number) or linearize(x),
        )
    strongest_channels(net, images, CLASS_IDS, count=1)
    layer_contributions(net, images, CLASS_IDS)
    assert passes == [0, 1, 2, 0, 1, 2]


def test_all_layers_have_as_many_channels(net, images):
    narrow = CoDANet([*net.body[:1], DAUConv2D(3, 4, 3)], temperature=1, image_size=(7, 8))
    top = strongest_channels(narrow, images, [0, 1, 2], count=3)
    assert top.channels.shape == (3, 2, 3)


def test_what_does_not_fit_is_refused(net, images):
    with pytest.raises(ValueError, match="class id for each of 3 images"):
        strongest_channels(net, images, [0, 1])
    with pytest.raises(ValueError, match="must be integers"):
        strongest_channels(net, images, [0.7, 2.0, 1.0])
    with pytest.raises(ValueError, match="lie in 0 to 3"):
        strongest_channels(net, images, [0, 4, 1])
    with pytest.raises(ValueError, match="count=0"):
        strongest_channels(net, images, CLASS_IDS, count=0)
    with pytest.raises(ValueError, match="Unknown `explained`: 'logits'"):
        strongest_channels(net, images, CLASS_IDS, explained="logits")


def test_in_mixed_precision_they_are_nearly_the_same(net, images):
    mixed = CoDANet(
        [
            DAUConv2D(6, 4, 3, dtype="mixed_bfloat16"),
            DAUConv2D(5, 4, 3, strides=2, dtype="mixed_bfloat16"),
            DAUConv2D(4, 4, 1, dtype="mixed_bfloat16"),
        ],
        temperature=3,
        image_size=(7, 8),
    )
    mixed.set_weights(net.get_weights())
    strongest = strongest_channels(mixed, images, CLASS_IDS, count=4)
    exact = strongest_channels(net, images, CLASS_IDS, count=4)
    total = strongest.contributions.sum(-1), exact.contributions.sum(-1)
    np.testing.assert_allclose(*total, rtol=0.05, atol=0.05 * np.abs(total[1]).max())
