"""Loading, order and augmentation of training data."""

import urllib.request

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tiny import assert_flips_alternate, hidden_squares

from coda_keras.data import numpy_batches
from coda_keras.data import tf_augmentation as augmentation
from coda_keras.data import tf_batches as data
from coda_keras.data.batches import TrainBatches
from coda_keras.data.image_files import ImageFiles

pytestmark = pytest.mark.tensorflow


@pytest.fixture
def numbered():
    """Images that carry their index in every pixel, and in their label."""
    indices = np.arange(23)
    images = np.broadcast_to(indices[:, None, None, None], (23, 4, 4, 3)).astype("uint8")
    return images, indices.astype("int32")


def train_batches(*arguments, **options):
    return data.train_batches(TrainBatches(*arguments, **options))


def epochs_of(batches, steps):
    labels = [labels.numpy() for _, labels in batches]
    return [np.concatenate(labels[i : i + steps]) for i in range(0, len(labels), steps)]


def test_every_epoch_is_another_permutation_without_the_incomplete_batch(numbered):
    orders = epochs_of(train_batches(*numbered, batch_size=5, epochs=3, seed=1), steps=4)
    assert [len(order) for order in orders] == [20, 20, 20]
    assert all(len(set(order)) == 20 for order in orders)
    assert not np.array_equal(orders[0], orders[1])
    assert not np.array_equal(orders[1], orders[2])


def test_images_stay_with_their_labels_in_the_unit_range(numbered):
    for images, labels in train_batches(*numbered, batch_size=5, epochs=1):
        np.testing.assert_allclose(images.numpy()[:, 2, 1, 0] * 255, labels.numpy(), rtol=1e-6)
        assert images.dtype == tf.float32


def test_resumed_batches_equal_uninterrupted_ones_to_the_pixel(rng):
    images = rng.integers(0, 256, (9, 6, 6, 3)).astype("uint8")
    labels = np.arange(9, dtype="int32")

    augment = [augmentation.rand_augment(2, 9), augmentation.flip_and_crop(padding=2)]

    def batches(start, seed=7, **more):
        made = train_batches(images, labels, 4, 3, start, seed, augment, **more)
        return [(x.numpy(), y.numpy()) for x, y in made]

    whole = batches(0)
    for first, resumed in ((4, batches(2)), (3, batches(1, start_step=1))):
        assert len(resumed) == 6 - first
        for (x, y), (x_resumed, y_resumed) in zip(whole[first:], resumed):
            np.testing.assert_array_equal(x, x_resumed)
            np.testing.assert_array_equal(y, y_resumed)
    shares = [batches(1, start_step=1, share=(part, 2)) for part in range(2)]
    for (x, y), (x_first, y_first), (x_second, y_second) in zip(whole[3:], *shares):
        np.testing.assert_array_equal(x, np.concatenate([x_first, x_second]))
        np.testing.assert_array_equal(y, np.concatenate([y_first, y_second]))
    assert not np.array_equal(whole[0][0], batches(0, seed=8)[0][0])


def seeds_of(images, labels, seed, epochs=3):
    """Every seed that two stages of augmentation get, by (epoch, image, stage)."""

    def first(image, seed):
        return tf.bitcast(tf.cast(seed, tf.int64), tf.uint8)

    def second(seen, seed):
        return tf.concat([seen, tf.bitcast(tf.cast(seed, tf.int64), tf.uint8)], axis=0)

    batches = train_batches(images, labels, len(images), epochs, 0, seed, [first, second])
    seeds = {}
    for epoch, (seen, order) in enumerate(batches):
        values = np.rint(seen.numpy() * 255).astype("uint8").reshape(len(images), 2, 16)
        for image, stages in zip(order.numpy(), values.view("int64")):
            seeds |= {(epoch, int(image), stage): tuple(s) for stage, s in enumerate(stages)}
    return seeds


def test_no_two_seeds_epochs_images_or_stages_share_random_numbers(numbered):
    seen = [seeds_of(*numbered, seed) for seed in (0, 1, 2, 23, -1, 2**31 + 7)]
    assert all(len(seeds) == 3 * 23 * 2 for seeds in seen)
    values = [value for seeds in seen for value in seeds.values()]
    assert len(set(values)) == len(values)


def test_seeds_do_not_depend_on_where_training_starts(numbered):
    def first_pixels(start):
        def stage(image, seed):
            return tf.bitcast(seed, tf.uint8)

        made = train_batches(*numbered, 23, 3, start, 4, [stage])
        return [x.numpy()[np.argsort(y.numpy())] for x, y in made]

    np.testing.assert_array_equal(first_pixels(0)[2], first_pixels(2)[0])


def test_crop_and_flip_draw_from_seeds_that_no_other_image_draws_from(monkeypatch):
    seeds, draw = [], tf.random.stateless_uniform

    def noted(shape, seed, *args, **kwargs):
        seeds.append(tuple(np.array(seed).tolist()))
        return draw(shape, seed, *args, **kwargs)

    monkeypatch.setattr(tf.random, "stateless_uniform", noted)
    image = tf.zeros((4, 4, 3), tf.uint8)
    augment = augmentation.flip_and_crop(padding=1)
    for index in range(4):
        for epoch in range(4):
            augment(image, tf.constant([index, epoch], tf.int64))
    # One draw of the corner and one of the coin for each.
    assert len(seeds) == len(set(seeds)) == 32


def test_too_few_images_for_a_batch(numbered):
    with pytest.raises(ValueError, match="23 training images for batches of 24"):
        train_batches(*numbered, batch_size=24, epochs=1)


@pytest.mark.parametrize("share", [(0, 2), (5, 5), (-1, 5)])
def test_parts_that_a_batch_does_not_have(numbered, share):
    with pytest.raises(ValueError, match="A batch of 5 images has no part"):
        train_batches(*numbered, batch_size=5, epochs=1, share=share)


def test_test_batches_hold_every_image_in_order(numbered):
    (labels,) = epochs_of(data.test_batches(*numbered, batch_size=5), steps=5)
    np.testing.assert_array_equal(labels, numbered[1])


@pytest.mark.parametrize("mode", ["constant", "reflect"])
def test_crops_are_windows_of_the_padded_image_and_half_are_flipped(mode, rng):
    image = rng.integers(1, 256, (5, 7, 3)).astype("uint8")
    padded = np.pad(image, ((2, 2), (2, 2), (0, 0)), mode)
    windows = {
        (row, column, flipped): padded[row : row + 5, column : column + 7][:, :: 1 - 2 * flipped]
        for row in range(5)
        for column in range(5)
        for flipped in (0, 1)
    }
    augment = tf.function(augmentation.flip_and_crop(padding=2, mode=mode))
    seen = []
    for index in range(200):
        augmented = augment(tf.constant(image), tf.constant([index, 0], tf.int64)).numpy()
        (match,) = [key for key, window in windows.items() if np.array_equal(window, augmented)]
        seen.append(match)
    rows, columns, flips = (np.array(values) for values in zip(*seen))
    assert set(rows) == set(columns) == set(range(5))
    assert 60 < flips.sum() < 140
    # Independent draws: no pair of them moves together.
    assert abs(np.corrcoef(rows, columns)[0, 1]) < 0.3
    assert abs(np.corrcoef(rows, flips)[0, 1]) < 0.3


def test_flips_that_alternate_show_every_image_both_ways_in_two_epochs(rng):
    assert_flips_alternate(train_batches, rng)


def test_cutout_is_a_grey_square_whose_middle_is_anywhere(rng):
    image = rng.integers(0, 100, (6, 9, 3)).astype("uint8")
    places = hidden_squares(image)
    augment = tf.function(augmentation.cutout(3))
    seeds = rng.integers(0, 2**31, (600, 2)).astype("int64")
    seen = {places[augment(tf.constant(image), seed).numpy().tobytes()] for seed in seeds}
    assert seen == set(np.ndindex(6, 9))


def test_rand_augment_changes_images_one_by_one_and_keeps_their_kind(rng):
    image = rng.integers(0, 256, (16, 16, 3)).astype("uint8")
    images, labels = np.stack([image] * 16), np.zeros(16, "int32")
    augment = [augmentation.rand_augment(operations=2, magnitude=9)]
    ((augmented, _),) = train_batches(images, labels, 16, 1, augment=augment)
    augmented = augmented.numpy()
    assert augmented.shape == (16, 16, 16, 3)
    assert augmented.min() >= 0 and augmented.max() <= 1
    assert len(np.unique(augmented.reshape(16, -1), axis=0)) > 8


def test_rand_augment_draws_each_of_the_operations_of_keras_cv_or_none(rng):
    layers = pytest.importorskip("keras_cv.layers")
    image = rng.integers(80, 170, (24, 24, 3)).astype("uint8")
    count, strength = 660, 0.3
    augment = [augmentation.rand_augment(operations=1, magnitude=30 * strength)]
    images, labels = np.stack([image] * count), np.zeros(count, "int32")
    ((augmented, _),) = train_batches(images, labels, count, 1, augment=augment)
    augmented = np.rint(augmented.numpy() * 255)
    floats = image[None].astype("float32")
    policy = layers.RandAugment.get_standard_policy((0, 255), strength, 0.0)
    # Those without chance by keras-cv alone, with none at last; shears to either side.
    exact = [np.array(layer(floats)) for layer in policy[:4]] + [floats]
    for axis, other in ("xy", "yx"):
        for sign in (-1.0, 1.0):
            shear = {f"shear_{axis}": tf.fill((1, 1), sign * strength), f"shear_{other}": None}
            exact.append(np.array(policy[6].augment_images(floats, shear)))
    left = augmented
    for expected, least, most in zip(exact, [35] * 5 + [15] * 4, [90] * 5 + [50] * 4):
        same = (left == np.clip(np.rint(expected), 0, 255)).all(axis=(1, 2, 3))
        assert least < same.sum() < most
        left = left[~same]
    # Brightness moves all pixels alike, and as far as it may.
    moved = left - floats
    alike = np.ptp(moved, axis=(1, 2, 3)) == 0
    assert 35 < alike.sum() < 90
    amounts = moved[alike][:, 0, 0, 0]
    assert amounts.min() < -60 and amounts.max() > 60 and np.abs(amounts).max() <= 77
    # What is left, contrast and translations, is never the same twice.
    assert len(np.unique(left[~alike].reshape(len(left[~alike]), -1), axis=0)) > 100


def test_missing_data_says_where_it_looked_and_what_to_do(tmp_path, monkeypatch):
    def offline(*args, **kwargs):
        raise ConnectionError("no route")

    monkeypatch.setattr(urllib.request, "urlopen", offline)
    with pytest.raises(FileNotFoundError) as error:
        data.load_tfds("cifar10", tmp_path)
    for part in (str(tmp_path / "cifar10"), "ConnectionError", "--data", "coda-keras train digits"):
        assert part in str(error.value)
    assert not list(tmp_path.iterdir())


def test_images_in_memory_on_disk_and_in_files_come_in_the_same_batches(tmp_path, rng):
    images = rng.integers(0, 256, (7, 6, 6, 3)).astype("uint8")
    labels = np.arange(7, dtype="int32")
    paths = [tmp_path / f"{label}.png" for label in labels]
    for path, image in zip(paths, images):
        Image.fromarray(image).save(path)
    images.tofile(tmp_path / "stored")
    stored = np.memmap(tmp_path / "stored", "uint8", "r", shape=images.shape)

    def batches(of, start=0):
        augment = [augmentation.flip_and_crop(padding=1)]
        made = train_batches(of, labels, 3, 3, start, 5, augment)
        return [*made.as_numpy_iterator(), *data.test_batches(of, labels, 4).as_numpy_iterator()]

    expected = batches(images)
    for other in (ImageFiles(paths, 6), stored):
        for seen, wanted in (
            (batches(other), expected),
            (batches(other, 2), expected[4:]),
        ):
            assert len(seen) == len(wanted)
            for ours, theirs in zip(seen, wanted):
                np.testing.assert_array_equal(ours[0], theirs[0])
                np.testing.assert_array_equal(ours[1], theirs[1])


def test_a_file_that_breaks_in_the_middle_of_an_epoch_is_named(tmp_path):
    (tmp_path / "a.png").write_text("none")
    batches = train_batches(ImageFiles([tmp_path / "a.png"], 6), np.zeros(1, "int32"), 1, 1)
    with (
        pytest.raises(ValueError, match=r"^\S+a\.png is no image .*"),
        data.reporting_broken_images(),
    ):
        list(batches)
    with pytest.raises(tf.errors.OutOfRangeError), data.reporting_broken_images():
        raise tf.errors.OutOfRangeError(None, None, "another error")


@pytest.mark.parametrize(("size", "expected"), [(32, 250), (64, 128), (1000, 1)])
def test_large_test_images_come_in_small_batches(size, expected):
    images = np.broadcast_to(np.zeros((1, 1, 1, 3), "uint8"), (1, size, size, 3))
    assert data.test_batch_size(images) == expected


def test_images_are_scaled_as_by_numpy(rng):
    images = rng.integers(0, 256, (1, 16, 24, 3)).astype("uint8")
    sizes = [(8, 12), tuple(rng.integers(1, 16, size=2)), (16, 24)]
    batches = TrainBatches(images, np.zeros(1, "int32"), 1, 3, sizes=sizes)
    for (one, _), (other, _) in zip(
        data.train_batches(batches), numpy_batches.train_batches(batches), strict=True
    ):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_crops_may_be_smaller_than_the_image(rng):
    image = tf.constant(rng.integers(0, 256, (7, 9, 3)).astype("uint8"))
    windows = {image[r : r + 5, c : c + 5].numpy().tobytes() for r in range(3) for c in range(5)}
    crop = augmentation.flip_and_crop(padding=0, flip=False, size=5)
    seen = {crop(image, tf.constant([n, 0], tf.int64)).numpy().tobytes() for n in range(90)}
    assert seen == windows
