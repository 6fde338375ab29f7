"""The weights as colours, against the formula and weights whose colours are known."""

import numpy as np
import pytest

from coda_keras import figures


def encoded(*rgb):
    """One pixel of a colour with its complements, `(1, 1, 6)`."""
    rgb = np.array(rgb, "float64")
    return np.concatenate([rgb, 1 - rgb])[None, None]


def reference_rgba(weights, scale):
    """One pixel by the formula."""
    colour = []
    for own, complement in zip(weights[:3], weights[3:]):
        own, complement = max(own, 0.0), max(complement, 0.0)
        colour.append(own / (own + complement) if own + complement else 0.5)
    return [*colour, min(1.0, sum(w**2 for w in weights) ** 0.5 / scale)]


@pytest.mark.parametrize("shape", [(3, 4, 6), (2, 3, 1, 5, 6)])
def test_colours_and_opacity_follow_the_formula_pixel_by_pixel(shape, rng):
    weights = rng.normal(size=shape)
    rgba = figures.weights_rgba(weights, scale=2.5)
    assert rgba.shape == (*shape[:-1], 4)
    for pixel in np.ndindex(shape[:-1]):
        np.testing.assert_allclose(rgba[pixel], reference_rgba(weights[pixel], 2.5), atol=1e-12)
    assert 0 < (rgba[..., 3] == 1).mean() < 1


def test_weights_in_proportion_to_an_encoded_image_show_the_image(rng):
    image = rng.random((5, 4, 3))
    weights = 0.3 * np.concatenate([image, 1 - image], axis=-1)
    np.testing.assert_allclose(figures.weights_rgba(weights)[..., :3], image, atol=1e-12)


@pytest.mark.parametrize("colour", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (0, 0, 0)])
def test_pure_colours_are_opaque_in_their_colour(colour):
    assert figures.weights_rgba(encoded(*colour)).tolist() == [[[*colour, 1]]]


def test_equal_pairs_are_grey():
    weights = np.tile([0.2, 1.0, 30.0], 2)[None, None]
    np.testing.assert_array_equal(figures.weights_rgba(weights), [[[0.5, 0.5, 0.5, 1]]])


def test_a_pair_without_a_positive_weight_has_no_colour_but_counts_for_opacity():
    weights = np.array([[[-3.0, 0, 1, 0, 0, -1], [-1, -2, -3, -4, -5, -6]]])
    rgba = figures.weights_rgba(weights, scale=11**0.5 * 2)
    np.testing.assert_allclose(rgba, [[[0.5, 0.5, 1, 0.5], [0.5, 0.5, 0.5, 1]]])


def test_zero_weights_are_transparent():
    assert (figures.weights_rgba(np.zeros((2, 3, 6)))[..., 3] == 0).all()


def test_colours_do_not_depend_on_the_scale_of_the_weights(rng):
    weights = rng.normal(size=(4, 4, 6))
    rgba = figures.weights_rgba(weights)
    for factor in (1e-9, 7, 1e9):
        np.testing.assert_allclose(figures.weights_rgba(factor * weights), rgba, rtol=1e-9)


def test_exchanging_colours_and_complements_inverts_the_colour(rng):
    weights = rng.normal(size=(4, 4, 6))
    rgba = figures.weights_rgba(weights)
    inverted = figures.weights_rgba(np.roll(weights, 3, axis=-1))
    np.testing.assert_allclose(inverted[..., :3], 1 - rgba[..., :3], atol=1e-12)
    np.testing.assert_allclose(inverted[..., 3], rgba[..., 3])


def test_the_percentile_of_the_norms_is_opaque():
    lengths = np.arange(1.0, 401).reshape(20, 20, 1)
    weights = lengths * np.array([0.6, 0, 0, -0.8, 0, 0])
    opacity = figures.weights_rgba(weights, percentile=50)[..., 3]
    np.testing.assert_allclose(opacity, np.minimum(lengths[..., 0] / 200.5, 1))
    np.testing.assert_array_equal(
        figures.weights_rgba(weights), figures.weights_rgba(weights, percentile=99.75)
    )


def test_scale_of_every_image_broadcasts(rng):
    weights = rng.normal(size=(3, 4, 4, 6))
    scales = np.array([0.5, 1.0, 4.0])
    together = figures.weights_rgba(weights, scales[:, None, None])
    for rgba, values, scale in zip(together, weights, scales):
        np.testing.assert_array_equal(rgba, figures.weights_rgba(values, scale))


@pytest.mark.parametrize(
    ("weights", "scale", "message"),
    [
        (np.zeros((4, 4, 3)), None, r"width, 6\).*\(4, 4, 3\)"),
        (np.zeros((4, 6)), None, r"\(4, 6\)"),
        (np.full((2, 2, 6), np.nan), None, "Weights must be finite"),
        (np.ones((2, 2, 6)), 0, "positive"),
    ],
)
def test_wrong_weights_and_scales_are_refused(weights, scale, message):
    with pytest.raises(ValueError, match=message):
        figures.weights_rgba(weights, scale)
