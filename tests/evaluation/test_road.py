import numpy as np
import pytest
from scipy.special import expit

from coda_keras import CoDANet, DAUConv2D, evaluation
from coda_keras.evaluation.road import imputed, neighbour_weights

SIZE = (6, 7)


def by_hand(image, removed):
    """The dense linear system, pixel by pixel."""
    height, width = removed.shape
    system, right = np.eye(height * width), image.reshape(height * width, -1).astype("float64")
    for y, x in np.argwhere(removed):
        row = np.zeros((height, width))
        for dy in (-1, 0, 1):
            for dx in (-1, 0, 1):
                inside = 0 <= y + dy < height and 0 <= x + dx < width
                if inside and (dy or dx):
                    row[y + dy, x + dx] = 1 / 12 if dy and dx else 1 / 6
        system[y * width + x] -= (row / row.sum()).ravel()
        right[y * width + x] = 0
    return np.linalg.solve(system, right).reshape(image.shape)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.9])
def test_imputation_is_the_solution_of_the_dense_system(share):
    random = np.random.default_rng(0)
    image = random.random((*SIZE, 3))
    removed = random.permutation(42).reshape(SIZE) < max(1, int(42 * share))
    filled = imputed(image, removed, neighbour_weights(*SIZE))
    np.testing.assert_allclose(filled, by_hand(image, removed), atol=1e-12)
    np.testing.assert_array_equal(filled[~removed], image[~removed])


def test_constant_and_linear_images_are_imputed_exactly():
    removed = np.random.default_rng(0).random(SIZE) < 0.6
    constant = np.full((*SIZE, 3), [0.2, 0.5, 0.9])
    weights = neighbour_weights(*SIZE)
    np.testing.assert_allclose(imputed(constant, removed, weights), constant, atol=1e-12)
    removed[[0, -1]] = removed[:, [0, -1]] = False
    ramp = np.add.outer(np.arange(6.0), 2 * np.arange(7.0))[..., None]
    np.testing.assert_allclose(imputed(ramp, removed, weights), ramp, atol=1e-12)


def test_nothing_removed_is_nothing_changed():
    image = np.random.default_rng(0).random((*SIZE, 3))
    np.testing.assert_array_equal(
        imputed(image, np.zeros(SIZE, bool), neighbour_weights(*SIZE)), image
    )


def pixels(count=3):
    images = np.random.default_rng(0).uniform(0.2, 0.8, (count, *SIZE, 3)).astype("float32")
    return images, np.zeros(count, int)


def variance_model(images):
    return 300 * images.astype("float64").var(axis=(1, 2))[:, :2] - 3


def test_scores_are_those_of_images_imputed_by_hand():
    seen, (images, class_ids) = [], pixels()

    def model(images):
        seen.extend(images)
        return variance_model(images)

    metric = evaluation.get("road", percentages=(20, 50, 90))
    importance = np.random.default_rng(1).normal(size=(3, *SIZE))
    rows = metric.measure(model, images, class_ids, lambda *args: importance)
    for index, (image, map_) in enumerate(zip(images, importance)):
        frames = np.array(seen[6 * index : 6 * index + 6])
        for order, half in (("most", frames[:3]), ("least", frames[3:])):
            ranked = np.argsort(-map_.ravel() if order == "most" else map_.ravel())
            for count, frame in zip((8, 21, 37), half):
                removed = np.zeros(SIZE, bool)
                removed.ravel()[ranked[:count]] = True
                noise = (frame - by_hand(image, removed))[removed]
                # Six standard deviations, and not the same for all.
                assert noise.std() > 0 and np.abs(noise).max() < 0.06
                np.testing.assert_array_equal(frame[~removed], image[~removed])
            expected = expit(variance_model(half)[:, 0])
            np.testing.assert_allclose(rows[order][index], expected)
        expected = (rows["least"][index].mean() - rows["most"][index].mean()) / 2
        assert rows["scores"][index] == pytest.approx(expected)


def test_noise_has_the_stated_deviation():
    seen, images = [], np.full((1, 40, 40, 3), 0.5, "float32")

    def model(images):
        seen.extend(images)
        return np.zeros((len(images), 2))

    evaluation.get("road", percentages=[90]).measure(
        model, images, np.zeros(1, int), lambda model, images, _: images[..., 0]
    )
    noise = seen[0] - 0.5
    assert np.count_nonzero(noise) == pytest.approx(0.9 * 4800, abs=3)
    assert noise[noise != 0].std() == pytest.approx(0.01, rel=0.05)


def test_coda_net_sees_imputed_colours_encoded():
    net = CoDANet([DAUConv2D(4, 4, 3), DAUConv2D(2, 4, 1)], temperature=1.0)
    images, class_ids = pixels(2)
    seen = []

    class Spy:
        explain = net.explain

        def __call__(self, images):
            seen.append(images)
            return net(images)

    metric = evaluation.get("road")
    assert metric(Spy(), images, class_ids, lambda model, images, _: images[..., 0])["images"] == 2
    for batch in seen:
        assert batch.shape[-1] == 6
        np.testing.assert_allclose(batch[..., :3] + batch[..., 3:], 1, atol=1e-6)


@pytest.mark.parametrize("percentages", [(), (0, 50), (50, 100)])
def test_percentages_are_checked(percentages):
    with pytest.raises(ValueError, match="percentages="):
        evaluation.get("road", percentages=percentages)
