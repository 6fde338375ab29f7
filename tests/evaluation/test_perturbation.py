import numpy as np
import pytest

from coda_keras import CoDANet, DAUConv2D
from coda_keras.evaluation.calls import predict_each
from coda_keras.evaluation.perturbation import generator_for, model_inputs, replaced

IMAGES = np.random.default_rng(0).random((3, 4, 5, 3), "float32")


def test_random_numbers_depend_on_seed_and_image_and_on_nothing_else():
    def drawn(seed, image):
        return generator_for(seed, image).random(4).tolist()

    assert drawn(1, IMAGES[0]) == drawn(1, IMAGES[0].astype("float64"))
    assert drawn(1, IMAGES[0]) == drawn(1, np.asfortranarray(IMAGES)[0])
    different = [drawn(seed, image) for seed in (1, 2) for image in IMAGES]
    assert len({tuple(numbers) for numbers in different}) == 6


def test_the_first_pixels_are_replaced():
    ranks = np.random.default_rng(0).permutation(20).reshape(4, 5)
    for after in (IMAGES[1], 0):
        frames = list(replaced(IMAGES[0], after, ranks, [0, 7, 20]))
        np.testing.assert_array_equal(frames[0], IMAGES[0])
        np.testing.assert_array_equal(frames[2], np.broadcast_to(after, (4, 5, 3)))
        for y, x in np.ndindex(4, 5):
            expected = np.broadcast_to(after, (4, 5, 3)) if ranks[y, x] < 7 else IMAGES[0]
            np.testing.assert_array_equal(frames[1][y, x], expected[y, x])
        assert {frame.dtype for frame in frames} == {np.dtype("float32")}


@pytest.mark.parametrize("batch_size", [1, 2, 3, 7])
def test_images_are_made_and_seen_a_batch_at_a_time(batch_size):
    made, waiting = [], []

    def images():
        for value in range(7):
            made.append(value)
            yield np.full((2, 2, 3), float(value))

    def model(batch):
        waiting.append(len(made) - sum(waiting))
        assert waiting[-1] == len(batch) <= batch_size
        return batch[:, 0, 0, :2]

    logits = predict_each(model, images(), batch_size)
    np.testing.assert_array_equal(logits, np.arange(7.0)[:, None] * np.ones(2))


def test_inputs_of_models_that_explain_themselves_have_six_channels():
    net = CoDANet([DAUConv2D(2, 2, 1)])
    encoded = np.concatenate([IMAGES, 1 - IMAGES], axis=-1)
    np.testing.assert_array_equal(model_inputs(net, IMAGES), encoded)
    assert model_inputs(lambda images: images, IMAGES) is IMAGES
    np.testing.assert_array_equal(model_inputs(None, IMAGES, encode_first=True), encoded)
    assert model_inputs(net, IMAGES, encode_first=False) is IMAGES
