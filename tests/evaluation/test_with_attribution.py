"""The metrics and the attribution methods together."""

import keras
import numpy as np
import pytest

from coda_keras import CoDANet, DAUConv2D, attribution
from coda_keras.evaluation import (
    cascading_randomisation,
    localisation,
    make_grids,
    pixel_removal,
)
from coda_keras.models.resnet import resnet56, with_image_size

METHODS = {
    "contributions": {},
    "integrated_gradients": {"steps": 2},
    "gradcam": {},
    "occlusion": {"patch_size": 3, "stride": 4},
}
COLOURS = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]], "float32")


def colour_classifier():
    """Logits of red, green, blue and white: for a colour plus its own channel, minus the others."""
    model = keras.Sequential(
        [
            keras.Input((None, None, 3)),
            keras.layers.Conv2D(4, 1, use_bias=False),
            keras.layers.GlobalAveragePooling2D(),
        ]
    )
    kernel = np.full((4, 3), -1.0)
    kernel[[0, 1, 2], [0, 1, 2]] = 1
    kernel[3] = 0.3
    model.layers[0].set_weights([kernel.T.reshape(1, 1, 3, 4)])
    return model


def colour_grids(model, grids=2):
    labels = np.arange(12) % 4
    images = np.broadcast_to(COLOURS[labels][:, None, None], (12, 4, 4, 3)).copy()
    return make_grids(images, model.predict(images, verbose=0), labels, grids=grids, n=2)


@pytest.mark.parametrize(
    ("method", "scores"),
    [
        # White has a positive share of every cell: 0.9 in its own, 0.3 in the others.
        ("input_x_gradient", [1, 1, 1, 0.5]),
        ("integrated_gradients", [1, 1, 1, 0.5]),
        # Summed over the channels the gradient is the same everywhere: -1 or 0.9.
        ("gradient", [0, 0, 0, 0.25]),
    ],
)
def test_localisation_of_a_model_whose_attributions_are_known(method, scores):
    model = colour_classifier()
    grids = colour_grids(model)
    result = localisation(model, grids, attribution.get(method), progress=False)
    np.testing.assert_allclose(result.scores, np.array(scores)[grids.class_ids], atol=1e-6)


def net():
    layers = [DAUConv2D(6, 4, 3, strides=2), DAUConv2D(4, 4, 3)]
    return CoDANet(layers, temperature=1.0, image_size=8)


@pytest.mark.parametrize("method", METHODS)
def test_methods_run_through_both_metrics(method):
    model = net()
    attribute = attribution.get(method, progress=False, **METHODS[method])
    random = np.random.default_rng(0)
    images, labels = random.random((4, 8, 8, 3), "float32"), np.arange(4)
    grids = make_grids(images, 8 * np.eye(4) - 4, labels, grids=1, n=2)
    scores = localisation(model, grids, attribute, progress=False).scores
    assert scores.shape == (1, 4)
    assert (scores >= 0).all() and (scores <= 1).all()
    removal = pixel_removal(model, images, labels, attribute, points=4, progress=False)
    assert all(0 < removal.area(order) < 1 for order in ("least", "most"))


def test_own_contributions_rank_pixels_better_than_their_negative():
    model = net()
    ours = attribution.get("contributions")
    images = np.random.default_rng(0).random((8, 8, 8, 3), "float32")
    class_ids = np.arange(8) % 4

    def area(method):
        return pixel_removal(
            model, images, class_ids, method, orders=["least"], points=8, progress=False
        ).area("least")

    assert area(ours) > area(lambda *args: -ours(*args))


@pytest.mark.parametrize("method", ["contributions", "input_x_gradient"])
def test_compiled_methods_see_the_weights_that_the_sanity_check_sets(method):
    model = net()
    attribute = attribution.get(method)
    images, class_ids = np.random.default_rng(0).random((2, 8, 8, 3), "float32"), np.array([0, 3])
    result = cascading_randomisation(model, images, class_ids, attribute, progress=False)
    for before, after in zip(result.maps[:-1], result.maps[1:]):
        assert np.abs(before - after).max() > 1e-3 * np.abs(before).max()
    np.testing.assert_array_equal(attribute(model, images, class_ids), result.maps[0])


@pytest.mark.parametrize("method", ["input_x_gradient", "gradcam"])
def test_resnet_of_any_size_takes_grids(method):
    model = with_image_size(resnet56(classes=4, depth=8, image_size=8), None)
    attribute = attribution.get(method, progress=False)
    images = np.random.default_rng(0).random((4, 8, 8, 3), "float32")
    grids = make_grids(images, 8 * np.eye(4), np.arange(4), 1, n=2, activation="softmax")
    scores = localisation(model, grids, attribute, progress=False).scores
    assert np.isfinite(scores).all()
    removal = pixel_removal(
        model, images, np.arange(4), attribute, points=4, activation="softmax", progress=False
    )
    assert removal.curve("least").shape == (5,)
