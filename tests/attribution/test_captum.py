"""Captum takes a `CoDANet` as it is where Keras runs on torch, and gives the numbers of ours.

`make test-torch` installs it, of the extra `captum`.
"""

import keras
import numpy as np
import pytest
from conftest import BACKEND

from coda_keras import CoDANet, DAUConv2D, attribution
from coda_keras.layers.encoding import encode

if BACKEND != "torch":
    pytest.skip("Captum needs Keras on torch", allow_module_level=True)
captum = pytest.importorskip("captum.attr", reason="of the extra captum")

# It warns that it sets hooks and asks for gradients.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
SIZE, CLASSES = 8, 3
# Windows of 3x3 pixels around the pixels 0, 3 and 6 of a side, cut off at the border: without
# overlap they are parts of the image.
PARTS = np.array([0, 0, 1, 1, 1, 2, 2, 2])


@pytest.fixture(scope="module")
def net():
    keras.utils.set_random_seed(3)
    layers = [DAUConv2D(6, 4, 3, strides=2), DAUConv2D(5, 3, 3), DAUConv2D(CLASSES, 3, 1)]
    return CoDANet(layers, temperature=0.05, image_size=SIZE)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(5).uniform(size=(3, SIZE, SIZE, 3)).astype("float32")


@pytest.fixture(scope="module")
def inputs(images):
    """What a `CoDANet` computes on, `(B, H, W, 6)`: zero is the absence of an image."""
    return encode(keras.ops.convert_to_tensor(images))


@pytest.fixture(scope="module")
def black(images):
    """What hidden pixels become here, unless `fill="no_evidence"` asks for zeros."""
    return encode(keras.ops.zeros_like(images))


@pytest.fixture(scope="module")
def classes():
    return keras.ops.convert_to_tensor(np.array([0, 2, 1]))


@pytest.fixture
def ours(net, images, classes):
    """A map by a method of this library, `(B, H, W)`."""
    ids = keras.ops.convert_to_numpy(classes)

    def maps(name, **arguments):
        return attribution.get(name, progress=False, **arguments)(net, images, ids)

    return maps


def summed(attributions):
    """Captum has a number for each channel, ours one for each pixel."""
    return keras.ops.convert_to_numpy(keras.ops.sum(attributions, axis=-1))


def drops(attributions):
    """The drop of the logit by the window of a pixel, which Captum has for every channel."""
    return keras.ops.convert_to_numpy(attributions[..., 0])


def assert_equal(theirs, expected, tolerance=1e-6):
    assert np.abs(expected).max() > 0
    np.testing.assert_allclose(theirs, expected, atol=tolerance * np.abs(expected).max(), rtol=0)


def test_saliency_with_its_signs_is_the_gradient(net, inputs, classes, ours):
    theirs = captum.Saliency(net).attribute(inputs, target=classes, abs=False)
    assert_equal(summed(theirs), ours("gradient"))
    # By default Captum drops the signs, of each channel for itself.
    absolute = captum.Saliency(net).attribute(inputs, target=classes)
    assert np.abs(summed(absolute) - np.abs(ours("gradient"))).max() > 0.01


def test_input_times_gradient(net, inputs, classes, ours):
    theirs = captum.InputXGradient(net).attribute(inputs, target=classes)
    assert_equal(summed(theirs), ours("input_x_gradient"))


def test_integrated_gradients(net, inputs, classes, ours):
    method = captum.IntegratedGradients(net)
    theirs = method.attribute(inputs, target=classes, n_steps=20, method="gausslegendre")
    assert_equal(summed(theirs), ours("integrated_gradients", steps=20))


def test_occlusion_by_a_pixel(net, inputs, black, classes, ours):
    method = captum.Occlusion(net)
    theirs = method.attribute(inputs, (1, 1, 6), target=classes, baselines=black)
    # It gives every channel of a window the whole drop.
    assert_equal(drops(theirs), ours("occlusion_1", stride=1))
    theirs = method.attribute(inputs, (1, 1, 6), target=classes)
    assert_equal(drops(theirs), ours("occlusion_1", stride=1, fill="no_evidence"))


def test_feature_ablation_of_windows_is_occlusion(net, inputs, black, classes, ours):
    mask = keras.ops.convert_to_tensor((3 * PARTS[:, None] + PARTS)[None, :, :, None])
    theirs = captum.FeatureAblation(net).attribute(
        inputs, target=classes, baselines=black, feature_mask=mask
    )
    sizes = np.bincount(PARTS)[PARTS]
    assert_equal(drops(theirs) / (sizes[:, None] * sizes), ours("occlusion_3", stride=3))


def test_deeplift_has_no_rule_for_these_layers(net, inputs, classes, ours):
    """Where there is no ReLU its multipliers are gradients, for Captum as for ours."""
    theirs = captum.DeepLift(net).attribute(inputs, target=classes)
    assert_equal(summed(theirs), ours("input_x_gradient"))


def test_contributions_are_none_of_them(net, images, classes, ours):
    """A gradient holds the change of the dynamic weights too, which contributions leave out."""
    maps = net.explain(images, classes).contribution_map
    assert_equal(keras.ops.convert_to_numpy(maps), ours("contributions"))
    assert np.abs(ours("contributions") - ours("input_x_gradient")).max() > 0.01
