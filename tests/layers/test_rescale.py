import numpy as np
import oracle
import pytest
from conftest import gradients
from keras import ops

from coda_keras.layers import rescale


@pytest.mark.parametrize("name", ["l2", "squash"])
def test_factor_equals_the_equation(name, rng):
    vectors = rng.normal(size=(50, 7)) * 10.0 ** rng.uniform(-4, 4, size=(50, 1))
    squared_norm = np.sum(vectors**2, axis=-1)
    alpha = ops.convert_to_numpy(rescale.get(name)(ops.convert_to_tensor(squared_norm, "float32")))
    expected = np.array([oracle.rescale(vector, name) for vector in vectors])
    np.testing.assert_allclose(alpha[:, None] * vectors, expected, rtol=1e-5)


@pytest.mark.parametrize("name", ["l2", "squash"])
def test_rescaled_norm_is_at_most_one(name):
    squared_norm = np.logspace(-30, 30, 121).astype("float32")
    alpha = ops.convert_to_numpy(rescale.get(name)(ops.convert_to_tensor(squared_norm)))
    assert np.all(alpha >= 0)
    assert np.max(alpha * np.sqrt(squared_norm)) <= 1 + 1e-6


@pytest.mark.parametrize("name", ["l2", "squash"])
# The Gram form rounds vanishing norms to small numbers of either sign.
@pytest.mark.parametrize("vanishing", [0.0, -1e-7, 1e-25])
def test_vanishing_norm_gives_zero_and_a_finite_gradient(name, vanishing):
    squared_norm = np.full((3,), vanishing, "float32")
    value, (slope,) = gradients(lambda n: ops.sum(rescale.get(name)(n)), [], squared_norm)
    assert value == 0
    np.testing.assert_array_equal(slope, 0)


def test_squash_factor_peaks_at_norm_one():
    """`||u|| / (1 + ||u||^2)` peaks at ||u|| = 1 with 1/2."""
    norms = np.linspace(0.01, 5, 500)
    alpha = ops.convert_to_numpy(rescale.squash(ops.convert_to_tensor(norms**2, "float32")))
    assert norms[np.argmax(alpha)] == pytest.approx(1.0, abs=0.01)
    assert alpha.max() == pytest.approx(0.5, abs=1e-4)


def test_unknown_name():
    with pytest.raises(ValueError, match=r"Unknown `rescale`: 'L1'.*\['l2', 'squash'\]"):
        rescale.get("L1")
