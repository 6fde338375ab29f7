"""Localisation as a loss: its value and gradients, what stands in which cell, how nets train."""

import keras
import numpy as np
import oracle
import pytest
from conftest import EXACT_DTYPE, as_oracle, gradients, loss_of
from keras import ops

from coda_keras import CoDANet, DAUConv2D
from coda_keras.evaluation.grid_localisation import positive_fraction
from coda_keras.models.grid_loss import cells_of, compose, positive_fractions

STRENGTH, TEMPERATURE, BIAS, CLASSES = 0.7, 3.0, -1.0, 3
LABELS = np.array([1, 0, 2, 1, 2, 2, 0, 1, 0])  # nine images: two grids, of images 0 to 7


def make_net(dtype=EXACT_DTYPE, size=(3, 4), **options):
    keras.utils.set_random_seed(1)
    layers = [DAUConv2D(3, 2, 3, dtype=dtype), DAUConv2D(CLASSES, 2, 1, dtype=dtype)]
    options = {"grid_loss": STRENGTH, "logit_bias": BIAS, **options}
    return CoDANet(layers, TEMPERATURE, image_size=size, dtype=dtype, **options)


def reference(layers, images, labels):
    """Cross-entropy, and what localisation lacks, in float64."""
    losses, fractions = [], []
    for image, label in zip(images, labels):
        logits = oracle.logits(oracle.encode(image), layers, TEMPERATURE, BIAS)
        losses.append(np.logaddexp(0, logits) - np.eye(CLASSES)[label] * logits)
    for number in range(2):
        a, b, c, d = images[4 * number : 4 * number + 4]
        grid = oracle.encode(np.vstack([np.hstack([a, b]), np.hstack([c, d])]))
        classes = labels[4 * number : 4 * number + 4]
        rows = oracle.weights_of_logits(grid, layers, TEMPERATURE).reshape(CLASSES, *grid.shape)
        maps = (rows[classes[number]] * grid).sum(axis=-1)
        # The metric scores map k for cell k: four times the same, for the share of every cell.
        cells = positive_fraction(np.stack([maps] * 4), 2)
        fractions.append(cells[classes == classes[number]].sum())
    return np.mean(losses) + STRENGTH * np.mean(1 - np.asarray(fractions))


def test_loss_and_gradients_equal_finite_differences_of_numpy(rng):
    net = make_net()
    images = rng.uniform(0.1, 0.9, size=(9, 3, 4, 3)).astype(EXACT_DTYPE)
    variables = net.trainable_variables
    value, derivatives = gradients(loss_of(net, LABELS), variables, images)
    derivatives = derivatives[:-1]  # the last is of the images
    layers = [as_oracle(layer) for layer in net.body]
    exact = EXACT_DTYPE == "float64"
    assert value == pytest.approx(reference(layers, images, LABELS), rel=1e-10 if exact else 1e-4)
    directions = [rng.normal(size=gradient.shape) for gradient in derivatives]
    expected = oracle.slope(lambda moved: reference(moved, images, LABELS), layers, directions)
    total = sum(np.sum(one * other) for one, other in zip(derivatives, directions))
    tolerance = {"rel": 1e-6} if exact else {"rel": 2e-3}
    assert total == pytest.approx(expected, **tolerance)


@pytest.mark.parametrize("size, cells", [(1, 4), (3, 4), (8, 4), (9, 8), (16, 8), (64, 32)])
def test_half_of_a_batch_is_in_grids(size, cells):
    chosen = ops.convert_to_numpy(cells_of(np.zeros((size, 2))))
    np.testing.assert_array_equal(chosen, np.arange(cells) % size)


def test_cells_stand_row_by_row(rng):
    images = rng.uniform(size=(8, 3, 5, 2)).astype("float32")
    grids = ops.convert_to_numpy(compose(images))
    assert grids.shape == (2, 6, 10, 2)
    np.testing.assert_array_equal(grids[1, :3, 5:], images[5])
    np.testing.assert_array_equal(grids[1, 3:, :5], images[6])


def test_fractions_are_those_of_the_metric(rng):
    maps = rng.normal(size=(4, 6, 10)).astype("float32")
    maps[2] = -np.abs(maps[2])
    right = ops.convert_to_tensor(np.eye(4, dtype=bool))
    fractions = ops.convert_to_numpy(positive_fractions(ops.convert_to_tensor(maps), right))
    np.testing.assert_allclose(fractions[:, 0], positive_fraction(maps, 2), rtol=1e-5)
    assert fractions[2] == 0 < fractions[1]


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_training_minimises_it(dtype, rng):
    images = rng.uniform(0.1, 0.9, size=(9, 3, 4, 3)).astype("float32")
    net = make_net(dtype)
    net.compile(keras.optimizers.SGD(0.0), metrics=None)
    history = net.fit(images, LABELS, batch_size=9, epochs=1, verbose=0, shuffle=False).history
    expected = reference([as_oracle(layer) for layer in net.body], images, LABELS)
    assert history["loss"] == pytest.approx([expected], rel=1e-4 if dtype == "float32" else 2e-2)


def test_batches_may_have_images_of_different_sizes(rng):
    net = make_net("float32")
    net.compile(keras.optimizers.SGD(0.0), metrics=None)
    sizes = zip(*(rng.choice(range(2, 7), 2, replace=False) for _ in range(2)))
    images = [rng.uniform(0.1, 0.9, size=(9, *size, 3)).astype("float32") for size in sizes]
    batches = ((part, LABELS) for part in images)
    history = net.fit(batches, steps_per_epoch=2, verbose=0, shuffle=False).history
    layers = [as_oracle(layer) for layer in net.body]
    expected = np.mean([reference(layers, part, LABELS) for part in images])
    assert history["loss"] == pytest.approx([expected], rel=1e-4)


def test_predictions_and_files_do_not_depend_on_it(tmp_path, rng):
    images = rng.uniform(size=(3, 3, 4, 3)).astype("float32")
    net, plain = make_net("float32"), make_net("float32", grid_loss=0.0)
    np.testing.assert_array_equal(*(ops.convert_to_numpy(one(images)) for one in (net, plain)))
    net.save(tmp_path / "net.keras")
    again = keras.models.load_model(tmp_path / "net.keras")
    assert again.get_config()["grid_loss"] == STRENGTH
    assert (again.grids.strength, plain.grids) == (STRENGTH, None)


@pytest.mark.parametrize("strength", [-1.0, float("nan"), float("inf")])
def test_strengths_that_are_none_are_refused(strength):
    with pytest.raises(ValueError, match="`grid_loss` must be a positive number, or 0"):
        make_net(grid_loss=strength)


def test_a_loss_without_its_pass_is_refused():
    with pytest.raises(ValueError, match="`grid_loss` needs the grids"):
        make_net().grids.loss(LABELS, np.zeros((9, CLASSES), EXACT_DTYPE))
