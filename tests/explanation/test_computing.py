"""Eager explanations run by code that is compiled once for a net."""

import gc
import weakref

import keras
import numpy as np
import pytest
from conftest import BACKEND
from keras import ops

from coda_keras import CoDANet, DAUConv2D, explain_dataset, unchecked

CLASSES = 4
COMPILES = BACKEND in ("tensorflow", "jax")


class Counting(CoDANet):
    """Counts how often Python runs through it."""

    runs = 0

    def linearize(self, images):
        self.runs += 1
        return super().linearize(images)


def make_net(kind=CoDANet):
    layers = [DAUConv2D(5, 4, 3, strides=2), DAUConv2D(CLASSES, 3, 3)]
    return kind(layers, temperature=3.0, image_size=(7, 6))


@pytest.fixture
def images(rng):
    return rng.uniform(size=(3, 7, 6, 3)).astype("float32")


def assert_as_eagerly(net, images, class_ids=None):
    computed = net.explain(images, class_ids).numpy().arrays()
    net.run_eagerly = True
    expected = net.explain(images, class_ids).numpy().arrays()
    net.run_eagerly = False
    for name, value in expected.items():
        assert computed[name].dtype == value.dtype
        np.testing.assert_allclose(computed[name], value, rtol=1e-4, atol=2e-6, err_msg=name)


@pytest.mark.parametrize("class_ids", [None, "all", 2, [1, 0, 3], [[0, 1], [2, 2], [3, 0]]])
def test_equals_what_runs_eagerly(class_ids, images):
    assert_as_eagerly(make_net(), images, class_ids)


def test_is_compiled_once_for_a_net_and_a_form_of_class_ids(images):
    net = make_net(Counting)
    for class_ids in (None, "all", 1, [[0, 1], [2, 2], [3, 0]]):
        net.explain(images, class_ids)
        before = net.runs
        for _ in range(3):
            net.explain(images, class_ids)
        assert net.runs == before + 3 * (not COMPILES)
    net.explain(images, [3, 1, 0])
    assert net.runs == before + 3 * (not COMPILES) + (not COMPILES)


def test_data_sets_share_what_was_compiled(images):
    net = make_net(Counting)
    list(explain_dataset(net, [images], progress=False))
    before = net.runs
    list(explain_dataset(net, [images, images], progress=False))
    assert net.runs == before + 2 * (not COMPILES)


def test_run_eagerly_is_kept_to(images):
    net = make_net(Counting)
    net.compile(run_eagerly=True)
    before = net.runs
    net.explain(images)
    net.explain(images)
    assert net.runs == before + 2


def test_new_weights_and_settings_are_seen(images):
    net = make_net()
    assert_as_eagerly(net, images)
    net.set_weights([2 * np.asarray(ops.convert_to_numpy(w)) for w in net.get_weights()])
    assert_as_eagerly(net, images)
    net.logit_bias = 0.5
    net.scaling.temperature = 11.0
    assert_as_eagerly(net, images)
    net.body[1] = DAUConv2D(CLASSES, 3, 3)
    net.body[1].build((None, 4, 3, 5))
    assert_as_eagerly(net, images)


def test_nets_are_not_kept_alive(images):
    net = make_net()
    net.explain(images)
    list(explain_dataset(net, [images], progress=False))
    gone = weakref.ref(net)
    del net
    gc.collect()
    assert gone() is None


def test_checks_come_before(images):
    net = make_net()
    net.explain(images)
    with pytest.raises(ValueError, match="divide 8-bit images by 255"):
        net.explain(255 * images)
    with pytest.raises(ValueError, match="must lie in 0 to 3"):
        net.explain(images, [0, 4, 1])
    with unchecked():
        assert ops.shape(net.explain(2 * images).contribution_map) == (3, 7, 6)


def test_maps_are_differentiable(images):
    net = make_net()
    kernel = net.body[0].kernel

    def total(images):
        return ops.sum(ops.square(net.explain(images, 1).contribution_map))

    if BACKEND == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            value = total(images)
        gradient = tape.gradient(value, kernel.value)
    elif BACKEND == "jax":
        import jax

        def of_kernel(value):
            with keras.StatelessScope(state_mapping=[(kernel, value)]):
                return total(images)

        gradient = jax.grad(of_kernel)(kernel.value)
    else:
        import torch

        (gradient,) = torch.autograd.grad(total(images), [kernel.value])
    assert np.abs(ops.convert_to_numpy(gradient)).max() > 0


@pytest.mark.skipif(not COMPILES, reason="functions are compiled by TensorFlow and JAX")
def test_becomes_part_of_code_that_is_compiled(images):
    net = make_net(Counting)
    if BACKEND == "tensorflow":
        import tensorflow as tf

        compiled = tf.function(lambda images: net.explain(images, 1).contribution_map)
    else:
        import jax

        compiled = jax.jit(lambda images: net.explain(images, 1).contribution_map)
    maps = compiled(ops.convert_to_tensor(images))
    runs = net.runs
    compiled(ops.convert_to_tensor(images))
    assert net.runs == runs
    expected = net.explain(images, 1).contribution_map
    np.testing.assert_allclose(maps, expected, rtol=1e-4, atol=2e-6)
