import numpy as np
import pytest

from coda_keras import evaluation


def pixels(low=0.1, high=0.9):
    random = np.random.default_rng(0)
    return random.uniform(low, high, (4, 5, 6, 3)).astype("float32"), np.arange(4)


def measure(attribute, images, **kwargs):
    metric = evaluation.get("max_sensitivity", **kwargs)
    return metric.measure(None, images, np.arange(len(images)), attribute)["scores"]


def test_perturbed_images_are_uniform_in_the_ball_and_keep_their_class():
    images, class_ids = pixels()
    seen = []

    def attribute(model, images, class_ids):
        seen.extend(zip(class_ids, images))
        return images.sum(axis=-1)

    measure(attribute, images, samples=200, radius=0.05)
    for class_id, image in zip(class_ids, images):
        noise = (
            np.array([other for class_seen, other in seen if class_seen == class_id])[1:] - image
        )
        assert noise.shape == (200, 5, 6, 3)
        assert 0.0499 < np.abs(noise).max() <= 0.05 + 1e-6
        # Standard deviation of a uniform distribution, and nothing shared by two pixels.
        assert noise.std() == pytest.approx(0.05 / 3**0.5, rel=0.02)
        assert abs(np.corrcoef(noise[:, 0, 0, 0], noise[:, 0, 0, 1])[0, 1]) < 0.3


def test_linear_map_in_closed_form():
    """A map `a x` changes by `a d`: the norm of d over that of x."""
    images, _ = pixels()
    seen = []

    def attribute(model, images, class_ids):
        seen.append(images[..., 0].astype("float64"))
        return 3 * images[..., 0]

    scores = measure(attribute, images, samples=6)
    originals, perturbed = seen[0], np.concatenate(seen[1:]).reshape(4, 6, 5, 6)
    for image, others, score in zip(originals, perturbed, scores):
        changes = [np.sqrt(((other - image) ** 2).sum()) for other in others]
        assert score == pytest.approx(max(changes) / np.sqrt((image**2).sum()), rel=1e-5)


def test_constant_map_has_none_and_a_zero_map_counts_the_change_itself():
    images, _ = pixels()
    assert (measure(lambda model, images, _: np.ones(images.shape[:3]), images) == 0).all()
    originals = {image.tobytes() for image in images}

    def zero_on_originals(model, images, class_ids):
        changed = np.array([image.tobytes() not in originals for image in images])
        return np.ones(images.shape[:3]) * changed[:, None, None]

    np.testing.assert_allclose(measure(zero_on_originals, images), 30**0.5)


def test_perturbed_images_stay_in_the_range_of_images():
    def attribute(model, images, class_ids):
        assert images.dtype == "float32" and images.min() >= 0 and images.max() <= 1
        return images.sum(axis=-1) + 1

    for value in (0, 1):
        images = np.full((2, 5, 6, 3), value, "float32")
        assert (measure(attribute, images, radius=0.1) > 0).all()


@pytest.mark.parametrize("arguments", [{"radius": 0.0}, {"samples": 0}])
def test_arguments_are_checked(arguments):
    with pytest.raises(ValueError, match=f"{next(iter(arguments))}=0"):
        evaluation.get("max_sensitivity", **arguments)
