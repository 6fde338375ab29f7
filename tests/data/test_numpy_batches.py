"""Order and augmentation of training data without TensorFlow."""

import numpy as np
import pytest
from tiny import assert_flips_alternate, hidden_squares

from coda_keras.data import numpy_batches
from coda_keras.data.batches import TrainBatches
from coda_keras.data.numpy_augmentation import cutout, flip_and_crop
from coda_keras.data.numpy_batches import TestBatches


def train_batches(*arguments, **options):
    return numpy_batches.train_batches(TrainBatches(*arguments, **options))


@pytest.fixture
def numbered():
    """Images that carry their index in every pixel, and in their label."""
    indices = np.arange(23)
    images = np.broadcast_to(indices[:, None, None, None], (23, 4, 4, 3)).astype("uint8")
    return images, indices.astype("int32")


def test_every_epoch_is_another_permutation_without_the_incomplete_batch(numbered):
    batches = list(train_batches(*numbered, batch_size=5, epochs=3, seed=1))
    assert len(batches) == 12
    orders = [np.concatenate([y for _, y in batches[i : i + 4]]) for i in (0, 4, 8)]
    assert all(len(set(order)) == 20 for order in orders)
    assert not np.array_equal(orders[0], orders[1]) and not np.array_equal(orders[1], orders[2])
    for images, labels in batches:
        assert images.dtype == np.float32 and labels.dtype == np.int32
        np.testing.assert_allclose(images[:, 2, 1, 0] * 255, labels, rtol=1e-6)


def test_resumed_batches_equal_uninterrupted_ones_to_the_pixel(rng, monkeypatch):
    images = rng.integers(0, 256, (9, 6, 6, 3)).astype("uint8")
    labels = np.arange(9, dtype="int32")

    def batches(seed=7, **begin):
        augment = [flip_and_crop(padding=2)]
        return list(train_batches(images, labels, 4, 3, seed=seed, augment=augment, **begin))

    whole = batches()
    monkeypatch.setattr(numpy_batches, "AHEAD", 1)
    resumed = batches(start_epoch=1, start_step=1)
    assert len(resumed) == 3
    for (x, y), (x_resumed, y_resumed) in zip(whole[3:], resumed):
        np.testing.assert_array_equal(x, x_resumed)
        np.testing.assert_array_equal(y, y_resumed)
    assert not np.array_equal(whole[0][0], batches(seed=8)[0][0])


@pytest.mark.parametrize("mode", ["constant", "reflect"])
def test_crops_are_windows_of_the_padded_image_and_half_are_flipped(mode, rng):
    image = rng.integers(1, 256, (5, 7, 3)).astype("uint8")
    padded = np.pad(image, ((2, 2), (2, 2), (0, 0)), mode)
    windows = {
        padded[row : row + 5, column : column + 7][:, :: 1 - 2 * flipped].tobytes(): (
            row,
            column,
            flipped,
        )
        for row in range(5)
        for column in range(5)
        for flipped in (0, 1)
    }
    augment, whole = (flip_and_crop(2, flip=flip, mode=mode) for flip in (True, False))
    seen = [windows[augment(image, np.random.default_rng(seed)).tobytes()] for seed in range(300)]
    rows, columns, flips = (np.array(values) for values in zip(*seen))
    assert set(rows) == set(columns) == set(range(5))
    assert 100 < flips.sum() < 200
    assert abs(np.corrcoef(rows, columns)[0, 1]) < 0.3
    assert not any(windows[whole(image, rng).tobytes()][2] for _ in range(30))


@pytest.mark.parametrize("size", [(1, 1), (4, 3), (6, 5), (8, 9)])
def test_images_are_scaled_by_the_mean_over_areas(size, rng):
    images = rng.integers(0, 256, (3, 8, 9, 3)).astype("uint8")
    sizes = [(7, 7), size]
    (scaled,) = (x for x, _ in train_batches(images, np.arange(3), 3, 2, 1, sizes=sizes))
    ((whole, _),) = train_batches(images, np.arange(3), 3, 2, 1)
    # Of pixels repeated `size` times every new one is the mean of 8 by 9.
    fine = whole.astype("float64").repeat(size[0], axis=1).repeat(size[1], axis=2)
    expected = fine.reshape(3, size[0], 8, size[1], 9, 3).mean(axis=(2, 4))
    np.testing.assert_allclose(scaled, expected, rtol=1e-6, atol=1e-7)
    assert scaled.dtype == np.float32


def test_flips_that_alternate_show_every_image_both_ways_in_two_epochs(rng):
    assert_flips_alternate(train_batches, rng)


def test_cutout_is_a_grey_square_whose_middle_is_anywhere(rng):
    image = rng.integers(0, 100, (6, 9, 3)).astype("uint8")
    before, places = image.copy(), hidden_squares(image)
    seen = {places[cutout(3)(image, rng).tobytes()] for _ in range(600)}
    assert seen == set(np.ndindex(6, 9))
    np.testing.assert_array_equal(image, before)


def test_test_batches_hold_every_image_in_order(numbered):
    batches = TestBatches(*numbered, batch_size=5)
    assert len(batches) == len(list(batches)) == 5
    np.testing.assert_array_equal(np.concatenate([y for _, y in batches]), numbered[1])
    np.testing.assert_allclose(batches[4][0][:, 0, 0, 0] * 255, [20, 21, 22], rtol=1e-6)


def test_too_few_images_for_a_batch(numbered):
    with pytest.raises(ValueError, match="23 training images for batches of 24"):
        train_batches(*numbered, batch_size=24, epochs=1)
