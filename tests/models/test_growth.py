"""Larger ranks leave what a net computes as it was, and can be trained."""

import keras
import numpy as np
import pytest
from keras import ops

from coda_keras import CoDANet, DAUConv2D
from coda_keras.layers import GlobalAveragePooling2D, TemperatureScaling
from coda_keras.models.growth import copy_weights, for_classes

IMAGES = np.random.default_rng(0).random((3, 8, 8, 3)).astype("float32")


def net(ranks, filters=5, kernel_size=3, layers=2, **more):
    body = [DAUConv2D(filters, rank, kernel_size, **more) for rank in ranks[: layers - 1]]
    return CoDANet([*body, DAUConv2D(4, ranks[-1], 1)], temperature=2.0, image_size=8)


@pytest.mark.parametrize("rescale", ["squash", "l2"])
@pytest.mark.parametrize("ranks", [(3, 2), (5, 2), (7, 9)])
def test_logits_and_maps_stay(ranks, rescale):
    source, target = net((3, 2), rescale=rescale), net(ranks, rescale=rescale)
    before = ops.convert_to_numpy(target(IMAGES))
    copy_weights(source, target)
    expected = ops.convert_to_numpy(source(IMAGES))
    assert not np.allclose(before, expected, atol=1e-4)
    np.testing.assert_allclose(ops.convert_to_numpy(target(IMAGES)), expected, rtol=1e-6, atol=1e-6)
    maps = [
        ops.convert_to_numpy(net.explain(IMAGES, 1).contribution_map) for net in (source, target)
    ]
    np.testing.assert_allclose(maps[1], maps[0], atol=1e-6)


def check_head_stays(source, target):
    """Copies weights between nets of two layers, of which the last keeps its own."""
    expected = [*source.body[0].get_weights(), *target.body[1].get_weights()]
    copy_weights(source, target)
    ours = [*target.body[0].get_weights(), *target.body[1].get_weights()]
    for weight, other in zip(ours, expected, strict=True):
        np.testing.assert_array_equal(weight, other)


def test_the_last_layer_for_another_number_of_classes_stays():
    source, target = net((3, 2)), CoDANet([*net((3, 2)).body[:1], DAUConv2D(5, 2, 1)])
    target.build((None, 8, 8, 6))
    check_head_stays(source, target)


def test_other_kinds_of_nets_are_refused():
    other = keras.Sequential([keras.layers.Dense(2)], name="ordinary")
    with pytest.raises(ValueError, match=r"Received: 'ordinary' of the class `Sequential`"):
        copy_weights(other, net((3, 2)))
    with pytest.raises(ValueError, match="`CoDANet`"):
        for_classes(other, ["cat", "dog"], 8, "new")


def test_new_columns_of_b_are_not_zero_so_that_new_columns_of_a_learn():
    source, target = net((3, 2)), net((7, 9))
    copy_weights(source, target)
    for old, new in zip(source.body, target.body):
        added = ops.convert_to_numpy(new.projection)[..., old.rank :]
        assert np.abs(added).max(axis=(0, 1, 2)).min() > 0
        assert not np.any(ops.convert_to_numpy(new.kernel)[..., old.rank :])


@pytest.mark.parametrize(
    ("other", "received"),
    [
        ({"ranks": (2, 2)}, "weights of the shapes"),
        ({"ranks": (3, 2), "filters": 6}, "weights of the shapes"),
        ({"ranks": (3, 2), "kernel_size": 5}, "weights of the shapes"),
        ({"ranks": (3, 2), "use_bias": False}, "weights of the shapes"),
        ({"ranks": (3, 2), "strides": 2}, "strides=2"),
        ({"ranks": (3, 2), "rescale": "l2"}, "rescale='l2'"),
    ],
)
def test_nets_that_do_not_fit_are_refused_and_left_alone(other, received):
    target = net(**other)
    before = target.get_weights()
    with pytest.raises(ValueError, match=f"do not fit .* Received:? {received}"):
        copy_weights(net((3, 2)), target)
    for old, new in zip(before, target.get_weights()):
        np.testing.assert_array_equal(old, new)


def test_other_numbers_of_layers_are_refused():
    with pytest.raises(ValueError, match="Received 2 and 1 layers"):
        copy_weights(net((3, 2)), net((2,), layers=1))


def test_other_classes_get_a_new_last_layer():
    layers = [DAUConv2D(5, 3, 3), DAUConv2D(4, 3, 1), GlobalAveragePooling2D()]
    source = CoDANet(layers, 2.0, -np.log(3), image_size=8, class_names=["a", "b", "c", "d"])
    target = for_classes(source, ["x", "y"], 12, "tuned")
    assert (target.classes, target.image_size, target.name) == (2, (12, 12), "tuned")
    assert (target.temperature, target.class_names) == (2.0, ["x", "y"])
    assert target.logit_bias == pytest.approx(0)
    check_head_stays(source, target)


def test_classes_of_the_same_names_keep_their_layer():
    source = CoDANet([DAUConv2D(2, 3, 1)], image_size=4, class_names=["a", "b"], logit_bias=-5.0)
    target = for_classes(source, ["a", "b"], 4, "again")
    copy_weights(source, target)
    assert target.logit_bias == -5.0
    for weight, expected in zip(target.get_weights(), source.get_weights()):
        np.testing.assert_array_equal(weight, expected)


def test_a_last_layer_without_units_cannot_have_other_classes():
    class Shared(DAUConv2D):
        def get_config(self):
            return {name: v for name, v in super().get_config().items() if name != "filters"}

    source = CoDANet([Shared(3, 2, 1), TemperatureScaling(2.0)], image_size=4)
    with pytest.raises(ValueError, match="has no number of units to change for other classes"):
        for_classes(source, ["a", "b"], 4, "none")
