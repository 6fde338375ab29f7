"""Deletion and insertion."""

import keras
import numpy as np
import pytest
from scipy.special import expit, softmax

from coda_keras import CoDANet, DAUConv2D, evaluation
from coda_keras.evaluation.insertion import blurred

SIZE, CLASSES = (3, 4), 2


def linear_model(seed=1):
    """Logits of a dense layer without bias, and its contributions in float64."""
    model = keras.Sequential(
        [keras.Input((*SIZE, 3)), keras.layers.Flatten(), keras.layers.Dense(CLASSES)]
    )
    kernel = np.random.default_rng(seed).normal(size=(*SIZE, 3, CLASSES))
    model.layers[-1].set_weights([kernel.reshape(-1, CLASSES), np.zeros(CLASSES)])

    def contributions(images):
        return np.einsum("bhwc,hwcn->bhwn", images.astype("float64"), kernel)

    def attribute(model, images, class_ids):
        return contributions(images)[np.arange(len(images)), :, :, class_ids]

    return model, attribute, contributions


def pixels(count=3):
    images = np.random.default_rng(0).random((count, *SIZE, 3), "float32")
    return images, np.arange(count) % CLASSES


def by_hand(before, after, class_ids, activation):
    """Area under the curve while the contributions of pixels change from one image to another.

    Args:
        before, after: `(B, H, W, classes)` contributions in the images at the two ends.
        class_ids: `(B,)`; the pixels go by their contributions in the image that is explained.
    """
    areas = []
    for start, stop, class_id in zip(before, after, class_ids):
        explained = start if np.abs(stop).sum() == 0 else stop
        order = np.argsort(-explained[..., class_id].ravel())
        change = (stop - start).reshape(-1, CLASSES)[order]
        logits = start.sum(axis=(0, 1)) + np.cumsum([np.zeros(CLASSES), *change], axis=0)
        p = expit(logits) if activation == "sigmoid" else softmax(logits, axis=1)
        p = p[:, class_id]
        areas.append((p[0] / 2 + p[1:-1].sum() + p[-1] / 2) / (len(p) - 1))
    return areas


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
@pytest.mark.parametrize("name", ["deletion", "insertion", "insertion into zero"])
def test_area_of_a_linear_model_in_closed_form(name, activation):
    model, attribute, contributions = linear_model()
    images, class_ids = pixels()
    own = contributions(images)
    name, _, baseline = name.partition(" into ")
    if name == "deletion":
        expected = by_hand(own, np.zeros_like(own), class_ids, activation)
        metric = evaluation.get(name, steps=12, activation=activation)
    else:
        start = np.zeros_like(own) if baseline else contributions(blurred(images))
        expected = by_hand(start, own, class_ids, activation)
        metric = evaluation.get(name, steps=12, activation=activation, baseline=baseline or "blur")
    rows = metric.measure(model, images, class_ids, attribute)
    np.testing.assert_allclose(rows["scores"], expected, atol=1e-6)
    np.testing.assert_allclose(rows["fractions"][0], np.arange(13) / 12)


@pytest.mark.parametrize(("name", "better"), [("deletion", np.less), ("insertion", np.greater)])
def test_own_contributions_are_better_than_their_negative(name, better):
    model, attribute, _ = linear_model()
    metric = evaluation.get(name, **({"baseline": "zero"} if name == "insertion" else {}))
    images, class_ids = pixels(6)
    ours = metric.measure(model, images, class_ids, attribute)["scores"]
    worse = metric.measure(model, images, class_ids, lambda *args: -attribute(*args))["scores"]
    assert better(ours, worse).all()


def test_area_of_a_known_curve_and_uneven_steps():
    def model(images):
        """The logit whose sigmoid is the share of the pixels left."""
        share = images.astype("float64").mean(axis=(1, 2, 3)).clip(1e-12, 1 - 1e-12)
        return np.log(share / (1 - share))[:, None]

    images, class_ids = np.ones((2, 3, 5, 3), "float32"), np.zeros(2, int)

    def attribute(model, images, class_ids):
        return np.zeros(images.shape[:3])

    for steps in (1, 4, 15, 64):
        summary = evaluation.get("deletion", steps=steps)(model, images, class_ids, attribute)
        assert summary["mean"] == pytest.approx(0.5)
        assert len(summary["mean_target_probability"]) == min(steps, 15) + 1
        left = 1 - np.array(summary["fraction_replaced"])
        np.testing.assert_allclose(summary["mean_target_probability"], left, atol=1e-6)


def test_coda_net_goes_from_and_to_no_evidence_in_six_channels():
    net = CoDANet([DAUConv2D(6, 4, 3), DAUConv2D(CLASSES, 4, 1)], temperature=1.0)
    images, class_ids = pixels()

    def attribute(model, images, class_ids):
        return images.sum(axis=-1)

    full = expit(keras.ops.convert_to_numpy(net(images)).astype("float64"))[np.arange(3), class_ids]
    deletion = evaluation.get("deletion").measure(net, images, class_ids, attribute)["curves"]
    insertion = evaluation.get("insertion", baseline="zero").measure(
        net, images, class_ids, attribute
    )["curves"]
    np.testing.assert_allclose(deletion[:, 0], full, atol=1e-6)
    np.testing.assert_allclose(insertion[:, -1], full, atol=1e-6)
    # Without any evidence only b_0 is left, which says 0.1.
    np.testing.assert_allclose(deletion[:, -1], 0.1, atol=1e-6)
    np.testing.assert_allclose(insertion[:, 0], 0.1, atol=1e-6)


def test_blur_against_loops():
    image = np.random.default_rng(0).random((7, 9, 3))
    padded = np.pad(image, ((5, 5), (5, 5), (0, 0)), mode="edge")
    kernel = np.exp(-(np.arange(-5, 6) ** 2) / 50)
    kernel = np.outer(kernel, kernel) / kernel.sum() ** 2
    expected = [
        [np.tensordot(kernel, padded[y : y + 11, x : x + 11], 2) for x in range(9)]
        for y in range(7)
    ]
    np.testing.assert_allclose(blurred(image[None])[0], expected)


def test_arguments_are_checked():
    with pytest.raises(ValueError, match="grey"):
        evaluation.get("insertion", baseline="grey")
    for name in ("deletion", "insertion"):
        with pytest.raises(ValueError, match="steps=0"):
            evaluation.get(name, steps=0)
