import keras
import numpy as np
import pytest

from coda_keras import CoDANet, DAUConv2D, attribution, evaluation
from coda_keras.evaluation.infidelity import best_factor, windows
from coda_keras.evaluation.perturbation import generator_for

WEIGHTS = np.random.default_rng(1).normal(size=(7, 9, 3, 2))
BIAS = np.array([0.3, -2.0])


def linear(images):
    return np.einsum("bhwc,hwcn->bn", images.astype("float64"), WEIGHTS) + BIAS


def contributions(model, images, class_ids):
    maps = np.einsum("bhwc,hwcn->bhwn", images.astype("float64"), WEIGHTS)
    return maps[np.arange(len(images)), :, :, class_ids]


def pixels():
    return np.random.default_rng(0).random((3, 7, 9, 3), "float32"), np.array([0, 1, 1])


def rows(attribute, model=linear, **kwargs):
    return evaluation.get("infidelity", **kwargs).measure(model, *pixels(), attribute)


def test_contributions_of_a_linear_model_are_faithful():
    measured = rows(contributions)
    np.testing.assert_allclose(measured["scores"], 0, atol=1e-12)
    np.testing.assert_allclose(measured["scaled"], 0, atol=1e-12)


@pytest.mark.parametrize("factor", [2.0, -1.0, 0.0])
def test_scaled_contributions_of_a_linear_model_in_closed_form(factor):
    measured = rows(lambda *args: factor * contributions(*args), samples=50)
    images, class_ids = pixels()
    for index, map_ in enumerate(contributions(None, images, class_ids)):
        masks = windows(generator_for(42, images[index]), 50, 7, 9)
        drops = np.array([map_[mask].sum() for mask in masks])
        expected = (factor - 1) ** 2 * np.mean(drops**2)
        assert measured["scores"][index] == pytest.approx(expected)
        assert measured["zero_map"][index] == pytest.approx(np.mean(drops**2))
        # A factor mends every scale, except that of a map of zeros.
        scaled = 0 if factor else np.mean(drops**2)
        assert measured["scaled"][index] == pytest.approx(scaled, abs=1e-12)


def test_best_factor_is_a_minimum():
    random = np.random.default_rng(0)
    foretold, drops = random.normal(size=(2, 20))
    best = best_factor(foretold, drops)

    def error(beta):
        return np.mean((beta * foretold - drops) ** 2)

    assert all(error(best) < error(best + step) for step in (-1e-3, 1e-3))


def test_windows_are_squares_of_all_sizes_at_all_places():
    masks = windows(np.random.default_rng(0), 4000, 7, 9)
    rows, columns = masks.any(axis=2).sum(axis=1), masks.any(axis=1).sum(axis=1)
    np.testing.assert_array_equal(rows, columns)
    np.testing.assert_array_equal(masks.sum(axis=(1, 2)), rows**2)
    counts = np.bincount(rows)
    assert len(counts) == 3 and counts[0] == 0 and counts[1:].min() > 1800
    singles = masks[rows == 1].mean(axis=0)
    np.testing.assert_allclose(singles, 1 / 63, atol=0.012)
    assert (singles > 0).all()
    assert windows(np.random.default_rng(0), 5, 2, 2).sum() == 5


def test_removed_windows_of_a_coda_net_are_no_evidence():
    net = CoDANet([DAUConv2D(4, 4, 3), DAUConv2D(2, 4, 1)], temperature=1.0)
    images, class_ids = pixels()
    metric = evaluation.get("infidelity", samples=3)
    measured = metric.measure(net, images, class_ids, attribution.get("contributions"))
    maps = attribution.get("contributions")(net, images, class_ids).astype("float64")
    for index, (image, class_id) in enumerate(zip(images, class_ids)):
        masks = windows(generator_for(42, image), 3, 7, 9)
        encoded = np.concatenate([image, 1 - image], axis=-1)
        without = np.stack([np.where(mask[..., None], 0, encoded) for mask in masks])
        logits = keras.ops.convert_to_numpy(net(np.stack([encoded, *without])))[:, class_id]
        logits = logits.astype("float64")
        foretold = [maps[index][mask].sum() for mask in masks]
        expected = np.mean((np.array(foretold) - (logits[0] - logits[1:])) ** 2)
        assert measured["scores"][index] == pytest.approx(expected, rel=1e-3, abs=1e-9)


def test_samples_are_checked():
    with pytest.raises(ValueError, match="samples=0"):
        evaluation.get("infidelity", samples=0)
