import numpy as np
import pytest

from coda_keras import evaluation
from coda_keras.evaluation.similarity import rank_correlation, ssim

IMAGES = np.random.default_rng(0).random((6, 9, 9, 3), "float32")
CLASS_IDS = np.arange(6) % 4
MAPS = np.random.default_rng(1).normal(size=(4, 9, 9))


def model(images):
    return np.zeros((len(images), 4))


def rows(attribute, **kwargs):
    return evaluation.get("random_logit", **kwargs).measure(model, IMAGES, CLASS_IDS, attribute)


def test_map_that_ignores_the_class_is_like_itself():
    similarities = rows(lambda model, images, class_ids: images.sum(axis=-1))
    np.testing.assert_allclose(similarities["scores"], 1)
    np.testing.assert_allclose(similarities["ssim"], 1)


def test_negated_map_is_unlike_by_sign_and_alike_without():
    def attribute(model, images, class_ids):
        signs = np.where(class_ids == CLASS_IDS, 1, -1)
        return signs[:, None, None] * (images[..., 0] - 0.5)

    similarities = rows(attribute)
    np.testing.assert_allclose(similarities["scores"], -1)
    np.testing.assert_allclose(similarities["ssim"], 1)


def test_another_class_of_the_model_is_drawn_for_every_image():
    asked = []

    def attribute(model, images, class_ids):
        asked.append(np.array(class_ids))
        return MAPS[class_ids]

    others = []
    for seed in range(30):
        asked.clear()
        similarities = rows(attribute, seed=seed)
        own, other = asked
        np.testing.assert_array_equal(own, CLASS_IDS)
        assert (other != own).all()
        others.append(other)
        for index, (a, b) in enumerate(zip(MAPS[own], MAPS[other])):
            assert similarities["scores"][index] == pytest.approx(rank_correlation(a, b))
            scaled = (np.abs(m) / np.abs(m).max() for m in (a, b))
            assert similarities["ssim"][index] == pytest.approx(ssim(*scaled))
    for own, drawn in zip(CLASS_IDS, np.transpose(others)):
        assert set(drawn) == set(range(4)) - {own}


def test_model_of_one_class_is_refused():
    def attribute(model, images, class_ids):
        return images[..., 0]

    with pytest.raises(ValueError, match="at least two"):
        evaluation.get("random_logit").measure(
            lambda images: np.zeros((len(images), 1)), IMAGES, np.zeros(6, int), attribute
        )
