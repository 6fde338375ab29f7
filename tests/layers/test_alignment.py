"""What a maximised DAU learns, against NumPy float64."""

import keras
import numpy as np
import pytest
from conftest import as_oracle, set_weights
from oracle import dynamic_weights

from coda_keras import DAUConv2D
from coda_keras.layers.alignment import (
    aligned_subspace,
    cosines,
    eigenvectors,
    kept,
    matrices,
    maximise,
    principal_subspace,
    reached,
)


@pytest.fixture
def centres(rng):
    return rng.normal(size=(3, 12)) + 0.5


@pytest.fixture
def inputs(centres, rng):
    """Samples of three directions that are not orthogonal, of unequal length, with noise."""
    chosen = centres[np.arange(90) % 3] * rng.uniform(0.3, 3, (90, 1))
    return chosen + rng.normal(0, 0.1, (90, 12))


def unit(rng, filters=2, rank=3, shape=(5, 5, 2)):
    layer = DAUConv2D(filters, rank, 3, use_bias=False)
    layer.build((None, *shape))
    set_weights(layer, rng)
    return layer


def test_the_matrices_are_those_of_the_unit(rng):
    layer, image = unit(rng), rng.normal(size=(5, 5, 2))
    patch = image[1:4, 1:4].ravel()
    weights = dynamic_weights(image, as_oracle(layer))[2, 2]
    for number in range(2):
        a, b = matrices(layer, number)
        u = a @ (b @ patch)
        norm = np.linalg.norm(u)
        np.testing.assert_allclose(
            u * norm / (1 + norm**2), weights[number].ravel(), rtol=1e-5, atol=1e-7
        )


def test_eigenvectors_are_those_of_the_whole_matrix(rng):
    layer = unit(rng)
    a, b = matrices(layer, 1)
    for transform in (np.eye(3), np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 0.5]])):
        # B such that BA is the transform: of real eigenvalues, and of a complex pair.
        b = transform @ np.linalg.pinv(a)
        layer.set_weights([b.T.reshape(layer.projection.shape), layer.get_weights()[1]])
        values, vectors = eigenvectors(layer, 1)
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1)
        whole = np.linalg.eigvals(a @ b)
        for value in values:
            assert np.abs(whole - value).min() < 1e-5
        # The real and imaginary parts of a pair span the plane that the matrix turns.
        images = vectors @ (a @ b).T
        left = images - images @ np.linalg.pinv(vectors) @ vectors
        assert np.abs(left).max() < 1e-5
        assert list(np.abs(values)) == sorted(np.abs(values), reverse=True)


def test_no_subspace_nearby_is_better_than_the_aligned_one(inputs, rng):
    for rank in (1, 3):
        best, pca = aligned_subspace(inputs, rank), principal_subspace(inputs, rank)
        np.testing.assert_allclose(best @ best.T, np.eye(rank), atol=1e-12)
        assert reached(inputs, best) > reached(inputs, pca)
        assert kept(inputs, pca) > kept(inputs, best)
        for _ in range(50):
            for rows, score in ((best, reached), (pca, kept)):
                moved, _ = np.linalg.qr((rows + rng.normal(0, 0.05, rows.shape)).T)
                assert score(inputs, moved.T) < score(inputs, rows)


def test_pca_is_that_of_the_second_moments(inputs):
    _, vectors = np.linalg.eigh(inputs.T @ inputs)
    rows = principal_subspace(inputs, 2)
    np.testing.assert_allclose(np.abs(rows @ vectors[:, :-3:-1]), np.eye(2), atol=1e-8)


def test_a_maximised_unit_reaches_what_can_be_reached_by_eigenvectors_like_its_inputs(
    inputs, centres
):
    bound = reached(inputs, aligned_subspace(inputs, 3))
    largest = np.linalg.norm(inputs, axis=1).mean()
    keras.utils.set_random_seed(0)
    layer = DAUConv2D(1, 3, 1, rescale="l2", use_bias=False)
    layer.build((None, 1, 1, 12))
    # Initial values decide how far apart eigenvalues come out, and where they are alike the
    # eigenvectors are mixtures; so every backend gets the same ones.
    set_weights(layer, np.random.default_rng(2))
    record = maximise(layer, inputs.astype("float32")[:, None, None], 60, 0.1, 45)
    outputs = keras.ops.convert_to_numpy(layer(inputs.astype("float32")[:, None, None]))
    got = float(outputs.mean() / largest)
    assert len(record) == 60 and record[-1] > record[0]
    assert bound - 5e-3 < got < bound + 1e-6
    _, vectors = eigenvectors(layer)
    units = centres / np.linalg.norm(centres, axis=1, keepdims=True)
    assert np.abs(units @ vectors.T).max(axis=1).min() > 0.98


def test_cosines(rng):
    weights, image = rng.normal(size=(2, 3, 4, 4, 2)), rng.normal(size=(2, 1, 4, 4, 2))
    weights[1, 2] = 0
    computed = cosines(weights, image)
    assert computed.shape == (2, 3) and computed[1, 2] == 0
    for row, column in np.ndindex(2, 2):
        w, x = weights[row, column].ravel(), image[row, 0].ravel()
        expected = w @ x / np.linalg.norm(w) / np.linalg.norm(x)
        assert computed[row, column] == pytest.approx(expected)
