"""Every attribution method against an independent computation."""

import itertools

import keras
import numpy as np
import pytest
from conftest import BACKEND, EXACT_DTYPE, set_weights
from keras import ops

from coda_keras import (
    CoDANet,
    DAUConv2D,
    DynamicLinear,
    ReceptiveField,
    attribution,
    encode,
    unchecked,
)
from coda_keras.attribution import locality


class Closed(keras.Model):
    """Logits of which everything is known: `[sum sin(a x), (a . x)^2, a . x + 1]`."""

    def __init__(self, factors):
        super().__init__()
        self.factors = ops.convert_to_tensor(factors.astype("float32"))

    def call(self, images, training=False):
        scaled = images * self.factors
        total = ops.sum(scaled, axis=(1, 2, 3))
        wave = ops.sum(ops.sin(scaled), axis=(1, 2, 3))
        return ops.stack([wave, ops.square(total), total + 1], axis=-1)


@pytest.fixture
def factors(rng):
    return rng.normal(size=(5, 4, 3))


@pytest.fixture
def images(rng):
    return rng.random((2, 5, 4, 3)).astype("float32")


@pytest.fixture
def net():
    layers = [
        DAUConv2D(4, 3, 3, dtype=EXACT_DTYPE),
        DAUConv2D(3, 2, 3, strides=2, dtype=EXACT_DTYPE),
    ]
    net = CoDANet(layers, temperature=0.5, dtype=EXACT_DTYPE)
    net.build((None, None, None, 3))
    set_weights(net, np.random.default_rng(2))
    return net


def explain(name, model, images, class_ids, **kwargs):
    return attribution.get(name, progress=False, **kwargs)(model, images, class_ids)


def logits(model, images):
    return ops.convert_to_numpy(model(images)).astype("float64")


def test_contributions_are_those_of_explain(net, images):
    maps = explain("contributions", net, images, [[0, 2], [1, 1]])
    explanation = net.explain(images, [[0, 2], [1, 1]]).numpy()
    np.testing.assert_allclose(maps, explanation.contribution_map, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(
        maps.sum((2, 3)) + net.logit_bias,
        np.take_along_axis(logits(net, images), np.array([[0, 2], [1, 1]]), 1),
        rtol=1e-5,
    )


def test_gradient_in_closed_form(factors, images):
    expected = (factors * np.cos(factors * images)).sum(-1)
    maps = explain("gradient", Closed(factors), images, 0)
    np.testing.assert_allclose(maps, expected, rtol=1e-4, atol=1e-5)


def test_input_x_gradient_in_closed_form(factors, images):
    expected = (images * factors * np.cos(factors * images)).sum(-1)
    maps = explain("input_x_gradient", Closed(factors), images, 0)
    np.testing.assert_allclose(maps, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("batch_size", [1, 3, 32])
def test_smooth_gradient_is_the_mean_over_its_noisy_copies(batch_size, factors, images):
    images = images * np.float32([[[[0.5]]], [[[1]]]]) - 0.2
    draws = np.stack(list(attribution.SmoothGradient(7, seed=4).normals(5, 4))).astype("float64")
    assert draws.shape == (7, 5, 4, 3)
    arguments = {"samples": 7, "noise": 0.3, "seed": 4, "batch_size": batch_size}
    maps = explain("smooth_gradient", Closed(factors), images, [[0, 2], [2, 0]], **arguments)
    for image, waves in zip(images.astype("float64"), maps[[0, 1], [0, 1]]):
        deviation = 0.3 * (image.max() - image.min())
        expected = np.zeros((5, 4))
        for draw in draws:
            expected += (factors * np.cos(factors * (image + deviation * draw))).sum(-1) / 7
        np.testing.assert_allclose(waves, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(maps[0, 1], factors.sum(-1), rtol=1e-5)
    other = explain("smooth_gradient", Closed(factors), images, 0, samples=7, noise=0.3, seed=5)
    assert np.abs(other[0] - maps[0, 0]).max() > 0.01


def test_smooth_gradient_against_its_expectation(factors, images):
    """The mean of cos(a (x + s n)) over standard normal n is cos(a x) exp(-(a s)^2 / 2)."""
    count, batch = 2000, {"batch_size": 2}
    deviation = 0.4 * np.ptp(images.astype("float64"), axis=(1, 2, 3), keepdims=True)
    damped = np.exp(-((factors * deviation) ** 2) / 2)
    expected = (factors * np.cos(factors * images) * damped).sum(-1)
    twice = (1 + np.cos(2 * factors * images) * damped**4) / 2
    variance = (factors**2 * (twice - (np.cos(factors * images) * damped) ** 2)).sum(-1)
    maps = explain("smooth_gradient", Closed(factors), images, 0, samples=count, noise=0.4, **batch)
    assert (np.abs(maps - expected) / np.sqrt(variance / count)).max() < 5
    # A gradient that is linear in x is its own mean.
    total = (factors * images).sum((1, 2, 3))[:, None, None]
    maps = explain("smooth_gradient", Closed(factors), images, 1, samples=count, noise=0.4, **batch)
    error = 2 * deviation[..., 0] * np.linalg.norm(factors) / np.sqrt(count)
    assert (np.abs(maps - 2 * factors.sum(-1) * total) / error / np.abs(factors.sum(-1))).max() < 5


def test_smooth_gradient_without_noise_is_the_gradient(net, images):
    maps = explain("smooth_gradient", net, images, 1, samples=2, noise=0)
    np.testing.assert_allclose(maps, explain("gradient", net, images, 1), rtol=1e-5, atol=1e-7)


def test_smooth_gradient_of_a_codanet_adds_noise_to_rgb(net, images):
    smooth = attribution.SmoothGradient(3, progress=False)
    deviation = 0.15 * np.ptp(images, axis=(1, 2, 3), keepdims=True)
    # Noise leaves [0, 1], which images given by a user may not.
    with unchecked():
        gradients = [
            explain("gradient", net, images + deviation * draw, 1) for draw in smooth.normals(5, 4)
        ]
    maps = smooth(net, images, 1)
    np.testing.assert_allclose(maps, np.mean(gradients, axis=0), rtol=1e-4, atol=1e-6)
    encoded = ops.convert_to_numpy(encode(images))
    np.testing.assert_allclose(smooth(net, encoded, 1), maps, rtol=1e-4, atol=1e-6)


@pytest.mark.skipif(EXACT_DTYPE != "float64", reason="differences need float64")
@pytest.mark.parametrize("name", ["gradient", "input_x_gradient", "deeplift"])
def test_gradients_are_numeric_differences_in_six_channels(name, net, images):
    encoded = ops.convert_to_numpy(encode(images)).astype("float64")
    maps = explain(name, net, images, 1)
    # One change for every pixel: of all six channels alike, or in proportion to their values.
    pixels = np.eye(20).reshape(20, 1, 5, 4, 1)
    changes = 1e-5 * pixels * (1.0 if name == "gradient" else encoded)

    def moved(sign):
        scores = logits(net, (encoded + sign * changes).reshape(-1, 5, 4, 6))
        return scores[:, 1].reshape(20, 2)

    slopes = ((moved(1) - moved(-1)) / 2e-5).T.reshape(2, 5, 4)
    np.testing.assert_allclose(maps, slopes, rtol=1e-4, atol=1e-6)


def test_integrated_gradients_in_closed_form(factors, images):
    model = Closed(factors)
    # On a square the integrand is linear, so that two nodes are exact.
    total = (factors * images).sum((1, 2, 3))
    expected = (factors * images).sum(-1) * total[:, None, None]
    maps = explain("integrated_gradients", model, images, 1, steps=2)
    np.testing.assert_allclose(maps, expected, rtol=1e-4, atol=1e-5)
    # Each pixel of the sum of sines can be integrated on its own.
    expected = np.sin(factors * images).sum(-1)
    maps = explain("integrated_gradients", model, images, 0)
    np.testing.assert_allclose(maps, expected, rtol=1e-4, atol=1e-5)


def test_integrated_gradients_are_complete_from_no_evidence(net, images):
    maps = explain("integrated_gradients", net, images, 2, steps=50)
    drop = logits(net, images)[:, 2] - logits(net, np.zeros((1, 5, 4, 6)))[0, 2]
    np.testing.assert_allclose(maps.sum((1, 2)), drop, rtol=1e-3)


def occlusion_by_brute_force(model, image, class_id, patch_size, stride, fill):
    height, width = image.shape[:2]
    variants, windows = [image], []
    for y, x in itertools.product(range(0, height, stride), range(0, width, stride)):
        top, left = y - patch_size // 2, x - patch_size // 2
        hidden = [
            (row, column)
            for row in range(max(0, top), min(height, top + patch_size))
            for column in range(max(0, left), min(width, left + patch_size))
        ]
        occluded = image.copy()
        for row, column in hidden:
            occluded[row, column] = fill
        variants.append(occluded)
        windows.append(hidden)
    original, *scores = logits(model, np.stack(variants))[:, class_id]
    result = np.zeros((height, width))
    for hidden, score in zip(windows, scores):
        for row, column in hidden:
            result[row, column] += (original - score) / len(hidden)
    return result


@pytest.mark.slow_on_jax
@pytest.mark.parametrize("patch_size, stride", [(3, 2), (2, 1), (9, 3), (1, 1)])
def test_occlusion_by_brute_force(patch_size, stride, net, images):
    sizes = {"patch_size": patch_size, "stride": stride}
    maps = explain("occlusion", net, images, 1, batch_size=7, **sizes)
    for image, map_ in zip(images, maps):
        expected = occlusion_by_brute_force(net, image, 1, fill=(0, 0, 0), **sizes)
        np.testing.assert_allclose(map_, expected, rtol=1e-3, atol=1e-5)


class CountedOcclusion(attribution.Occlusion):
    evaluations = 0

    def run_on_device(self, image, masks):
        self.evaluations += len(masks)
        return super().run_on_device(image, masks)


@pytest.mark.slow_on_jax
@pytest.mark.parametrize("patch_size, stride", [(3, 2), (2, 1), (1, 4)])
def test_occlusion_shares_evaluations_between_windows_far_apart(patch_size, stride, net, rng):
    images = rng.random((1, 17, 24, 3)).astype("float32")
    occlusion = CountedOcclusion(patch_size, stride, batch_size=5, progress=False)
    maps = occlusion(net, images, 1)
    expected = occlusion_by_brute_force(net, images[0], 1, patch_size, stride, (0, 0, 0))
    np.testing.assert_allclose(maps[0], expected, rtol=1e-3, atol=1e-5)
    windows = len(range(0, 17, stride)) * len(range(0, 24, stride))
    assert occlusion.evaluations < windows


class Blur(DynamicLinear):
    """A user's own layer: every second position of sums over 3x3 windows, nothing padded."""

    receptive_field = ReceptiveField(size=3, stride=2, offset=0)

    def linearize(self, inputs):
        inputs = self.prepare(inputs)
        channels = inputs.shape[-1]
        kernel = ops.reshape(ops.eye(channels), (1, 1, channels, channels)) * ops.ones((3, 3, 1, 1))
        outputs = ops.conv(inputs, kernel, 2, "valid")
        return outputs, lambda g: ops.conv_transpose(g, kernel, 2, "valid")


class SecretBlur(Blur):
    """The same but that it does not tell what it sees."""

    receptive_field = None


@pytest.mark.slow_on_jax
def test_occlusion_asks_own_layers_what_they_see(rng):
    image = rng.random((1, 21, 17, 3)).astype("float32")
    maps, evaluations = [], []
    for blur in (Blur(), SecretBlur()):
        keras.utils.set_random_seed(4)
        net = CoDANet([DAUConv2D(3, 2, 3), blur, DAUConv2D(3, 2, 3)], temperature=2.0)
        occlusion = CountedOcclusion(3, 2, batch_size=11, progress=False)
        maps.append(occlusion(net, image, [[0, 2]]))
        evaluations.append(occlusion.evaluations)
    assert evaluations[0] < 0.5 * evaluations[1]
    np.testing.assert_allclose(maps[0], maps[1], rtol=1e-4, atol=1e-5)
    assert np.std(maps[0]) > 0.1


def test_receptive_field_is_what_a_position_responds_to(rng):
    layers = [DAUConv2D(4, 3, 5, strides=2), Blur(), DAUConv2D(2, 3, 3, strides=3)]
    net = CoDANet(layers, temperature=1.0)
    field = locality.receptive_field(net)
    assert field == (17, 12, -6)
    image = rng.random((1, 40, 40, 3)).astype("float32")
    before = ops.convert_to_numpy(locality.evidence(net, image))
    for pixel in (0, 17, 39):
        changed = image.copy()
        changed[:, pixel] = 1 - changed[:, pixel]
        difference = ops.convert_to_numpy(locality.evidence(net, changed)) - before
        responds = np.abs(difference).max((0, 2, 3)) > 0
        seen = locality.sees(field, len(responds), np.array([pixel]), np.array([pixel]))
        np.testing.assert_array_equal(responds, seen[0])


@pytest.mark.slow_on_jax
def test_occlusion_by_no_evidence(net, factors, images):
    maps = explain("occlusion", net, images, 0, patch_size=3, fill="no_evidence")
    encoded = ops.convert_to_numpy(encode(images))
    for image, map_ in zip(encoded, maps):
        expected = occlusion_by_brute_force(net, image, 0, 3, 2, fill=(0,) * 6)
        np.testing.assert_allclose(map_, expected, rtol=1e-3, atol=1e-5)
    with pytest.raises(ValueError, match="six channels"):
        explain("occlusion", Closed(factors), images, 0, fill="no_evidence")


@pytest.mark.slow_on_jax
def test_occlusion_pixel_by_pixel_on_a_linear_model(factors, images):
    maps = explain("occlusion", Closed(factors), images, 2, patch_size=1, stride=1)
    np.testing.assert_allclose(maps, (factors * images).sum(-1), rtol=1e-4, atol=1e-5)


def all_masks(grid_size, height, width):
    """Every mask that RISE can make, each as likely as the others when p = 1/2."""
    transform = pytest.importorskip("skimage.transform")
    cells = -(-height // grid_size), -(-width // grid_size)
    enlarged = tuple((grid_size + 1) * cell for cell in cells)
    for bits in itertools.product([0.0, 1.0], repeat=grid_size**2):
        grid = np.reshape(bits, (grid_size, grid_size))
        mask = transform.resize(grid, enlarged, order=1, mode="reflect", anti_aliasing=False)
        for top, left in itertools.product(range(cells[0]), range(cells[1])):
            yield mask[top : top + height, left : left + width]


def test_rise_makes_the_published_masks():
    possible = np.stack(list(all_masks(2, 5, 4))).reshape(-1, 20)
    possible = np.unique(possible.round(6), axis=0)
    rise = attribution.RISE(num_masks=1000, grid_size=2, keep_probability=0.5, batch_size=64)
    masks = np.concatenate(list(rise.masks(5, 4))).reshape(1000, 20)
    distance = np.abs(masks[:, None] - possible).max(-1)
    assert distance.min(1).max() < 1e-5
    assert set(distance.argmin(1)) == set(range(len(possible)))


def test_rise_shows_or_hides_all_pixels_with_a_single_cell():
    rise = attribution.RISE(num_masks=50, grid_size=1, keep_probability=0.5)
    masks = np.concatenate(list(rise.masks(5, 4)))
    shown = masks[:, 0, 0]
    np.testing.assert_array_equal(masks, np.broadcast_to(shown[:, None, None], masks.shape))
    assert set(shown) == {0, 1}


def test_rise_against_its_expectation_on_a_linear_model(factors, images):
    possible = np.stack(list(all_masks(2, 5, 4)))
    scores = np.einsum("mhw,bhwc,hwc->bm", possible, images, factors) + 1
    terms = scores[..., None, None] * possible / 0.5
    count = 3000
    maps = explain(
        "rise",
        Closed(factors),
        images,
        2,
        num_masks=count,
        grid_size=2,
        keep_probability=0.5,
        activation="linear",
        batch_size=500,
    )
    deviation = np.abs(maps - terms.mean(1)) / (terms.std(1) / np.sqrt(count))
    assert deviation.max() < 5


def test_rise_weighs_by_probabilities(factors, images):
    weak = explain("rise", Closed(factors), images, 0, num_masks=20, grid_size=2, batch_size=6)
    rise = attribution.RISE(num_masks=20, grid_size=2)
    (masks,) = rise.masks(5, 4)
    for image, map_ in zip(images, weak):
        scores = np.sin(masks[..., None] * image * factors).sum((1, 2, 3))
        expected = np.einsum("m,mhw->hw", 1 / (1 + np.exp(-scores)), masks) / (20 * 0.1)
        np.testing.assert_allclose(map_, expected, rtol=1e-4, atol=1e-5)


def test_gradcam_by_hand(rng, images):
    kernel, weights = rng.normal(size=(3, 4)), rng.normal(size=(4, 2))
    model = keras.Sequential(
        [
            keras.Input((5, 4, 3)),
            keras.layers.Conv2D(4, 1, strides=2, name="features"),
            keras.layers.ReLU(),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(2),
        ]
    )
    model.set_weights([kernel[None, None], np.zeros(4), weights, np.zeros(2)])
    features = images[:, ::2, ::2] @ kernel
    activations = np.maximum(features, 0)
    resize = np.ix_(np.arange(5) * 3 // 5, np.arange(4) * 2 // 4)

    def expected(maps):
        return np.stack([np.maximum(one, 0)[resize] for one in maps])

    pooled = weights[:, 1] / (3 * 2)
    maps = explain("gradcam", model, images, 1)
    # Enlarged to 5 rows, nearest neighbours of 3 differ by convention: the corners do not.
    for map_, wanted in zip(maps, expected(activations @ pooled)):
        np.testing.assert_allclose(map_[:1, :], wanted[:1, :], rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(map_[-1:, :], wanted[-1:, :], rtol=1e-4, atol=1e-6)
    alive = (features > 0).mean((1, 2), keepdims=True)
    named = explain("gradcam", model, images, 1, layer="features")
    wanted = expected((features * alive) @ pooled)
    np.testing.assert_allclose(named[:, 0], wanted[:, 0], rtol=1e-4, atol=1e-6)
    with pytest.raises(ValueError, match=r"No layer 'body'.*features"):
        explain("gradcam", model, images, 1, layer="body")


def test_gradcam_of_a_codanet_is_its_last_layer(net, images):
    images = np.repeat(images, 2, axis=2)[:, :4]
    maps = explain("gradcam", net, images, 2)
    outputs = encode(ops.convert_to_tensor(images))
    for layer in net.body:
        outputs = layer(outputs)
    scores = np.maximum(ops.convert_to_numpy(outputs)[..., 2] / net.temperature, 0)
    np.testing.assert_allclose(maps[:, ::2, ::2], scores, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(maps[:, 1::2, 1::2], scores, rtol=1e-4, atol=1e-7)


def gradcam_plus_plus_by_derivatives(activations, head, class_id):
    """The paper's weights from the first three derivatives of Y = exp(S), S linear in A.

    The derivatives are those of the polynomial through Y at seven values of every activation.
    """
    height, width, channels = activations.shape
    weights = np.zeros(channels)
    nodes = np.arange(-3, 4) / 50
    for k in range(channels):
        for i, j in itertools.product(range(height), range(width)):
            scores = []
            for node in nodes:
                moved = activations.copy()
                moved[i, j, k] += node
                scores.append(np.exp(head(moved)[class_id]))
            value = np.polynomial.Polynomial.fit(nodes, scores, 6).convert()
            first, second, third = (value.deriv(order)(0) for order in (1, 2, 3))
            divisor = 2 * second + activations[..., k].sum() * third
            weights[k] += second / divisor * max(first, 0)
    return np.maximum(activations @ weights, 0)


def test_gradcam_plus_plus_by_the_derivatives_of_the_exponential(rng, images):
    kernel, weights, bias = rng.normal(size=(3, 4)), rng.normal(size=(12, 4, 2)), rng.normal(size=2)
    inputs = keras.Input((4, 3, 3))
    outputs = keras.layers.Conv2D(4, 1, activation="relu", use_bias=False)(inputs)
    outputs = keras.layers.Dense(2)(keras.layers.Flatten()(outputs))
    model = keras.Model(inputs, outputs)
    model.set_weights([kernel[None, None], weights.reshape(48, 2), bias])
    images = images[:, :4, :3]
    maps = explain("gradcam_plus_plus", model, images, [[0, 1], [1, 0]])
    assert (maps.reshape(4, -1).max(1) > 0).all()

    def head(activations):
        return np.einsum("pk,pkc->c", activations.reshape(12, 4), weights) + bias

    activations = np.maximum(images.astype("float64") @ kernel, 0)
    for values, of_image, class_ids in zip(activations, maps, [[0, 1], [1, 0]]):
        for map_, class_id in zip(of_image, class_ids):
            # The library leaves out the factor Y.
            expected = gradcam_plus_plus_by_derivatives(values, head, class_id)
            expected = expected / np.exp(head(values)[class_id])
            np.testing.assert_allclose(map_, expected, rtol=1e-4, atol=1e-6)


def test_gradcam_plus_plus_is_finite_where_the_paper_divides_by_zero():
    explained = attribution.GradCAMPlusPlus()
    gradients = ops.convert_to_tensor(np.float32([[[[1, 0]], [[0.5, 0]]]]))
    # The first channel sums to -2: with the gradient 1 the divisor is 0.
    activations = ops.convert_to_tensor(np.float32([[[[-3, 1]], [[1, 2]]]]))
    weights = ops.convert_to_numpy(explained.channel_weights(activations, gradients))
    np.testing.assert_allclose(weights, [[[[1 + 0.5 / (2 - 1), 0]]]])


def test_gradcam_plus_plus_of_a_codanet_scales_its_last_layer(net, images):
    temperature = 0.02
    images = np.repeat(images, 2, axis=2)[:, :4]
    strict = CoDANet(net.body, temperature=temperature, dtype=EXACT_DTYPE)
    outputs = encode(ops.convert_to_tensor(images))
    for layer in net.body:
        outputs = layer(outputs)
    scores = np.moveaxis(ops.convert_to_numpy(outputs), -1, 1) / temperature
    evidence = scores.sum((2, 3), keepdims=True)
    # Little evidence turns the sign.
    assert (evidence < -2).any()
    assert (evidence > -2).any()
    height, width = scores.shape[2:]
    expected = np.maximum(height * width / (2 + evidence) * scores, 0)
    maps = explain("gradcam_plus_plus", strict, images, [[0, 1, 2]] * 2)
    np.testing.assert_allclose(maps[..., ::2, ::2], expected, rtol=1e-3, atol=1e-6)


def test_gradcam_needs_an_unambiguous_activation(images):
    dense = keras.Sequential([keras.Input((5, 4, 3)), keras.layers.Flatten()])
    with pytest.raises(ValueError, match="No layer with 4D output"):
        explain("gradcam", dense, images, 0)
    inputs = keras.Input((5, 4, 3))
    twice = keras.layers.Conv2D(3, 1, name="twice")
    model = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(twice(twice(inputs))))
    with pytest.raises(ValueError, match="'twice' is called several times"):
        explain("gradcam", model, images, 0)


class WeightedEnergy(keras.Model):
    """Logits `[sum w x^2, -sum w x^2]`; hiding a superpixel by its mean takes its variance away."""

    def __init__(self, weights):
        super().__init__()
        self.weighting = ops.convert_to_tensor(weights[..., None].astype("float32"))

    def call(self, images, training=False):
        energy = ops.sum(self.weighting * ops.square(images), axis=(1, 2, 3))
        return ops.stack([energy, -energy], axis=-1)


def test_lime_finds_the_superpixels_that_matter(rng):
    pytest.importorskip("lime")
    from skimage.segmentation import quickshift

    image = np.kron(rng.random((3, 3, 3)), np.ones((8, 8, 1))) + 0.1 * rng.random((24, 24, 3))
    image = image.astype("float32")
    sizes = {"kernel_size": 2, "max_dist": 200, "ratio": 0.2}
    segments = quickshift(image.astype("float64"), **sizes)
    effects = [3, 2, -2.5, 1.5, 0.5, -0.4, 0.2, 0.2, 0.2]
    weights = np.zeros((24, 24))
    for segment, effect in enumerate(effects):
        inside = image[segments == segment]
        weights[segments == segment] = effect / (inside.var(0).sum() * len(inside))
    model = WeightedEnergy(weights)
    maps = explain("lime", model, image[None], [[0, 1]], activation="linear", **sizes)[0]
    np.testing.assert_array_equal(maps[0], np.isin(segments, [0, 1, 3]))
    np.testing.assert_array_equal(maps[1], np.isin(segments, [2, 5]))


def test_lime_segments_rgb_only(net):
    pytest.importorskip("lime")
    with pytest.raises(ValueError, match="Pass RGB images"):
        explain("lime", net, np.zeros((1, 8, 8, 6)), 0)


@pytest.mark.process
@pytest.mark.skipif(BACKEND != "tensorflow", reason="shap explains TensorFlow graphs")
def test_deeplift_by_the_rescale_rule(rng, images):
    pytest.importorskip("shap")
    model = keras.Sequential(
        [
            keras.Input((5, 4, 3)),
            keras.layers.Conv2D(6, 1),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(2),
        ]
    )
    kernel, bias = rng.normal(size=(3, 6)), rng.normal(size=6)
    # Rounding is larger in the logit of class 1 than shap tolerates.
    sizes = np.array([1, 1e6])
    weights = rng.normal(size=(6, 2)) * sizes
    scale, shift, mean = rng.normal(size=6), rng.normal(size=6), rng.normal(size=6)
    variance = rng.random(6) + 0.5
    parameters = [kernel[None, None], bias, scale, shift, mean, variance, weights, np.zeros(2)]
    model.set_weights(parameters)
    maps = explain("deeplift", model, images, [[0, 1], [1, 0]])

    slope = scale / np.sqrt(variance + 1e-3)
    baseline = (bias - mean) * slope + shift
    change = (images @ kernel) * slope
    rescaled = (np.maximum(baseline + change, 0) - np.maximum(baseline, 0)) / change
    per_class = np.einsum("bhwk,kc->bchw", rescaled * change, weights) / (5 * 4)
    maps = np.stack([maps[0], maps[1, ::-1]]) / sizes[:, None, None]
    expected = per_class / sizes[:, None, None]
    np.testing.assert_allclose(maps, expected, rtol=1e-3, atol=1e-5)
    drop = (logits(model, images) - logits(model, np.zeros((1, 5, 4, 3)))) / sizes
    np.testing.assert_allclose(maps.sum((2, 3)), drop, rtol=1e-3, atol=1e-5)


@pytest.mark.process
@pytest.mark.skipif(BACKEND != "tensorflow", reason="shap explains TensorFlow graphs")
def test_deeplift_of_unknown_operations_leaves_gradients_intact(factors, images):
    pytest.importorskip("shap")
    model = Closed(factors)
    before = explain("gradient", model, images, 0)
    with pytest.raises(ValueError, match="shap could not explain Closed"):
        explain("deeplift", model, images, 0)
    np.testing.assert_array_equal(explain("gradient", model, images, 0), before)


class Coarse(keras.Model):
    """Logits in steps of 4. shap lets the rounding to float16 pass as if it were exact."""

    def call(self, images, training=False):
        sums = keras.ops.sum(images, axis=(1, 2))[:, :2]
        coarse = keras.ops.cast(sums + 4096, "float16")
        return keras.ops.cast(coarse, "float32") - 4096


@pytest.mark.process
@pytest.mark.skipif(BACKEND != "tensorflow", reason="shap explains TensorFlow graphs")
def test_deeplift_checks_the_sums_of_maps(images):
    pytest.importorskip("shap")
    with pytest.raises(ValueError, match=r"a map sums to 1.*, but the logit differs by 1"):
        explain("deeplift", Coarse(), images, 0)


class AtMost(keras.Model):
    """A linear net that fails if it is shown more than two images at once."""

    def __init__(self):
        super().__init__()
        self.classify = keras.layers.Dense(2)

    def call(self, images, training=False):
        import tensorflow as tf

        few = tf.debugging.assert_less_equal(tf.shape(images)[0], 2)
        with tf.control_dependencies([few] if few is not None else []):
            images = tf.identity(images)
        return self.classify(tf.reshape(images, (-1, 60)))


@pytest.mark.process
@pytest.mark.skipif(BACKEND != "tensorflow", reason="shap explains TensorFlow graphs")
def test_deeplift_shows_the_model_no_more_than_the_batch_size(images):
    pytest.importorskip("shap")
    model = AtMost()
    images = np.concatenate([images, images[:1]])
    maps = explain("deeplift", model, images, 0, batch_size=2)
    kernel = model.classify.get_weights()[0].T.reshape(2, 5, 4, 3)
    expected = (images * kernel[0]).sum(-1)
    np.testing.assert_allclose(maps, expected, rtol=1e-4, atol=1e-6)
