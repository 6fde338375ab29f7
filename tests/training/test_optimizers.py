"""Muon on DAU layers against NumPy."""

import keras
import numpy as np
import pytest

from coda_keras import CoDANet, DAUConv2D, OneVsAllCrossentropy
from coda_keras.training import Settings, objective
from coda_keras.training.optimizers import QUINTIC, DAUMuon


def orthogonalised(matrix, steps=5):
    """The Newton-Schulz iteration in float64, one matrix at a time."""
    a, b, c = QUINTIC
    wide = matrix.shape[0] < matrix.shape[1]
    x = np.asarray(matrix, "float64").T if wide else np.asarray(matrix, "float64")
    x = x / (np.linalg.norm(x) + 1e-7)
    for _ in range(steps):
        gram = x.T @ x
        x = a * x + x @ (b * gram + c * gram @ gram)
    x = x.T if wide else x
    return 0.2 * np.sqrt(max(matrix.shape)) * x


@pytest.mark.parametrize("shape", [(3, 3, 2, 4, 5), (1, 1, 3, 2, 7)], ids=["tall", "wide"])
def test_every_unit_has_a_matrix_of_its_own(shape):
    random = np.random.default_rng(0)
    start, gradients = random.normal(size=(3, *shape)), random.normal(size=(2, *shape))
    variable = keras.Variable(start[0].astype("float32"), name="kernel")
    optimizer = DAUMuon(0.1, momentum=0.9)
    expected, momentum = start[0].copy(), np.zeros(shape)
    for gradient in gradients:
        optimizer.apply([keras.ops.convert_to_tensor(gradient, "float32")], [variable])
        momentum = 0.9 * momentum + gradient
        ahead = (gradient + 0.9 * momentum).reshape(-1, *shape[3:])
        update = np.stack([orthogonalised(ahead[:, unit]) for unit in range(shape[3])], axis=1)
        expected -= 0.1 * update.reshape(shape)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(variable), expected, atol=2e-5)


def test_a_projection_is_one_matrix():
    gradient = np.random.default_rng(1).normal(size=(3, 3, 2, 5))
    variable = keras.Variable(np.zeros(gradient.shape, "float32"), name="projection")
    DAUMuon(1.0, momentum=0.0).apply([keras.ops.convert_to_tensor(gradient, "float32")], [variable])
    expected = -orthogonalised(gradient.reshape(-1, 5)).reshape(gradient.shape)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(variable), expected, atol=2e-5)


@pytest.mark.parametrize(
    ("shape", "name"),
    [((3, 3, 2, 4, 5), "kernel"), ((3, 3, 2, 5), "projection"), ((3, 3, 9, 5), "kernel")],
)
def test_matrices_keep_their_norms(shape, name):
    random = np.random.default_rng(4)
    start, gradient = random.normal(size=(2, *shape))
    variable = keras.Variable(start.astype("float32"), name=name)
    optimizer = DAUMuon(0.3, momentum=0.0, fixed_norms=True)
    optimizer.apply([keras.ops.convert_to_tensor(gradient, "float32")], [variable])
    units = shape[3] if len(shape) == 5 else 1
    before, slopes, after = (
        np.asarray(values, "float64").reshape(-1, units, shape[-1])
        for values in (start, gradient, keras.ops.convert_to_numpy(variable))
    )
    for unit in range(units):
        norm, update = np.linalg.norm(before[:, unit]), orthogonalised(slopes[:, unit])
        moved = before[:, unit] - 0.3 * norm * update / np.linalg.norm(update)
        moved *= norm / np.linalg.norm(moved)
        np.testing.assert_allclose(after[:, unit], moved, atol=2e-5)


@pytest.mark.parametrize("name", ["adam", "muon", "fixed_muon"])
def test_what_the_settings_ask_for(name):
    optimizer = objective.optimizer(Settings(optimizer=name, learning_rate=1.0), 10)
    start = np.random.default_rng(5).normal(size=(3, 3, 2, 4, 5)).astype("float32")
    variable = keras.Variable(start, name="kernel")
    gradients = [keras.ops.ones(variable.shape)]
    for _ in range(2):
        # The warm-up begins with a rate of 0.
        optimizer.apply(gradients, [variable])
    moved = keras.ops.convert_to_numpy(variable)
    norms = [np.linalg.norm(values.reshape(-1, 4, 5), axis=(0, 2)) for values in (start, moved)]
    assert np.abs(moved - start).max() > 1e-3
    assert np.allclose(*norms, rtol=1e-5) == (name == "fixed_muon")


def test_other_variables_learn_as_by_adam():
    random = np.random.default_rng(2)
    start, gradients = random.normal(size=(3, 3, 2, 4)), random.normal(size=(4, 3, 3, 2, 4))
    results = []
    for optimizer in (DAUMuon(0.02, adam_rate=0.5), keras.optimizers.Adam(0.01)):
        variable = keras.Variable(start.astype("float32"), name="bias")
        for gradient in gradients:
            optimizer.apply([keras.ops.convert_to_tensor(gradient, "float32")], [variable])
        results.append(keras.ops.convert_to_numpy(variable))
    np.testing.assert_allclose(*results, atol=1e-6)


def test_no_gradient_changes_nothing():
    variable = keras.Variable(np.ones((3, 3, 2, 4, 5), "float32"), name="kernel")
    DAUMuon(0.1).apply([keras.ops.zeros(variable.shape)], [variable])
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(variable), 1.0)


def test_a_net_resumes_with_its_momentum(tmp_path):
    random = np.random.default_rng(3)
    images = random.uniform(size=(8, 8, 8, 3)).astype("float32")
    labels = np.arange(8) % 3
    keras.utils.set_random_seed(0)
    net = CoDANet([DAUConv2D(4, 3, 3), DAUConv2D(3, 3, 1)], temperature=5.0, image_size=8)
    net.compile(DAUMuon(0.01), OneVsAllCrossentropy(), jit_compile=False)
    net.fit(images, labels, 8, epochs=2, shuffle=False, verbose=0)
    net.save(tmp_path / "net.keras")
    again = keras.models.load_model(tmp_path / "net.keras")
    for trained in (net, again):
        trained.fit(images, labels, 8, epochs=2, shuffle=False, verbose=0)
    for weight, other in zip(net.get_weights(), again.get_weights()):
        np.testing.assert_allclose(other, weight, atol=1e-6)
