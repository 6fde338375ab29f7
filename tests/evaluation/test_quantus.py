"""Quantus' metrics of a `CoDANet`'s maps are ours, where both measure the same.

`make test-torch` installs it, of the extra `captum`.
"""

import keras
import numpy as np
import pytest
from conftest import BACKEND

from coda_keras import CoDANet, DAUConv2D, attribution, evaluation
from coda_keras.evaluation.confidence import probabilities
from coda_keras.layers.encoding import encode

if BACKEND != "torch":
    pytest.skip("Quantus needs Keras on torch", allow_module_level=True)
quantus = pytest.importorskip("quantus", reason="of the extra captum")
torch = pytest.importorskip("torch")

# Quantus wants as many pixels as steps of six numbers divide.
SIZE = 12
QUIET = {"disable_warnings": True, "display_progressbar": False, "normalise": False, "abs": False}


class ChannelsFirst(torch.nn.Module):
    """A net as Quantus takes it: it holds Keras models for TensorFlow's, and channels come first.

    Args:
        net: a `CoDANet`.
    """

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, inputs):
        return self.net(inputs.permute(0, 2, 3, 1))


class Probabilities(ChannelsFirst):
    """The same with the sigmoids of the logits, which deletion looks at."""

    def forward(self, inputs):
        return torch.sigmoid(super().forward(inputs))


@pytest.fixture(scope="module")
def net():
    keras.utils.set_random_seed(3)
    layers = [DAUConv2D(6, 4, 3, strides=2), DAUConv2D(5, 3, 3), DAUConv2D(2, 3, 1)]
    return CoDANet(layers, temperature=0.05, image_size=SIZE)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(5).uniform(size=(3, SIZE, SIZE, 3)).astype("float32")


@pytest.fixture(scope="module")
def ids():
    return np.array([0, 1, 1])


@pytest.fixture(scope="module")
def ours():
    """Our method; both sides measure its maps."""
    return attribution.get("contributions", progress=False)


@pytest.fixture(scope="module")
def batch(net, images, ids, ours):
    """What Quantus takes: images `(B, 6, H, W)`, classes, maps `(B, 1, H, W)`."""
    x = keras.ops.convert_to_numpy(encode(images)).transpose(0, 3, 1, 2)
    return {"x_batch": x, "y_batch": ids, "a_batch": ours(net, images, ids)[:, None]}


def explain(model, inputs, targets, **_):
    """`explain_func` of Quantus."""
    explanation = model.net.explain(np.asarray(inputs).transpose(0, 2, 3, 1), np.asarray(targets))
    return keras.ops.convert_to_numpy(explanation.contribution_map)[:, None]


def scores(metric, net, images, ids, ours, **arguments):
    return evaluation.get(metric, **arguments).measure(net, images, ids, ours)["scores"]


@pytest.mark.parametrize(
    ("metric", "theirs"), [("sparseness", "Sparseness"), ("complexity", "Complexity")]
)
def test_how_concise_maps_are(metric, theirs, net, images, ids, ours, batch):
    found = getattr(quantus, theirs)(**{**QUIET, "abs": True})(
        model=ChannelsFirst(net).train(False), **batch
    )
    np.testing.assert_allclose(found, scores(metric, net, images, ids, ours), rtol=1e-5)


def test_random_logit_of_two_classes(net, images, ids, ours, batch):
    """Of more classes each draws another one by its own generator."""
    similarity = quantus.similarity_func.correlation_spearman
    metric = quantus.RandomLogit(similarity_func=similarity, num_classes=2, **QUIET)
    found = metric(model=ChannelsFirst(net).train(False), explain_func=explain, **batch)
    np.testing.assert_allclose(found, scores("random_logit", net, images, ids, ours), atol=1e-6)


def test_max_sensitivity_under_the_same_noise(net, images, ids, ours, batch):
    metric = evaluation.get("max_sensitivity", samples=4)
    perturbed = [metric._perturbed(image) for image in images]
    draws = iter(range(4))

    def same_noise(arr, **_):
        number = next(draws)
        changed = np.stack([copies[number] for copies in perturbed])
        return keras.ops.convert_to_numpy(encode(changed)).transpose(0, 3, 1, 2)

    theirs = quantus.MaxSensitivity(nr_samples=4, perturb_func=same_noise, **QUIET)
    found = theirs(model=ChannelsFirst(net).train(False), explain_func=explain, **batch)
    np.testing.assert_allclose(found, metric.measure(net, images, ids, ours)["scores"], rtol=1e-4)


def test_pixel_flipping_is_deletion_without_its_first_point(net, images, ids, ours, batch):
    """All six channels of a pixel go together, since a map has one number for them."""
    metric = quantus.PixelFlipping(
        features_in_step=6, perturb_baseline=0.0, **{**QUIET, "return_aggregate": False}
    )
    found = np.array(metric(model=Probabilities(net).train(False), softmax=False, **batch))
    deletion = evaluation.get("deletion", steps=SIZE * SIZE).measure(net, images, ids, ours)
    np.testing.assert_allclose(found, deletion["curves"][:, 1:], atol=1e-5)
    logits = keras.ops.convert_to_numpy(net(images))
    first = probabilities(logits, "sigmoid")[np.arange(3), ids]
    whole = np.concatenate([first[:, None], found], axis=1)
    area = np.trapezoid(whole, dx=1 / SIZE**2, axis=1)
    np.testing.assert_allclose(area, deletion["scores"], atol=1e-5)


def test_completeness_there_asks_for_equal_floats(net, images, ids, ours, batch):
    """Ours tells how large the rest is: some rounding, which no sum of floats is free of."""
    contributions = keras.ops.convert_to_numpy(net.explain(images, ids).contributions)
    given = {**batch, "a_batch": contributions.transpose(0, 3, 1, 2)}
    found = quantus.Completeness(**QUIET)(model=ChannelsFirst(net).train(False), **given)
    assert not all(found)
    assert np.max(scores("completeness", net, images, ids, ours)) < 1e-5
