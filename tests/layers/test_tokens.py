"""Patches, places and means, against loops in float64."""

import numpy as np
import pytest
from conftest import EXACT_DTYPE
from keras import ops

from coda_keras.layers import GlobalAveragePooling2D, Patches2D, SinCosPositions2D
from coda_keras.layers.offset import pull

TOLERANCE = 1e-12 if EXACT_DTYPE == "float64" else 1e-5


def _array(tensor):
    return np.asarray(ops.convert_to_numpy(tensor), "float64")


def _pulled(layer, images, rng):
    """Outputs, a cotangent, its pull back and offset, as arrays."""
    outputs, pullback = layer.linearize(images)
    cotangent = rng.normal(size=outputs.shape)
    back, offset = pull(pullback, ops.cast(cotangent, outputs.dtype))
    return _array(outputs), cotangent, _array(back), _array(offset)


def test_patches_have_rows_then_columns_then_channels(rng):
    images = rng.normal(size=(2, 4, 6, 3)).astype(EXACT_DTYPE)
    outputs, cotangent, back, _ = _pulled(Patches2D(2, dtype=EXACT_DTYPE), images, rng)
    assert outputs.shape == (2, 2, 3, 12)
    for batch, row, column, channel in np.ndindex(2, 4, 6, 3):
        place = batch, row // 2, column // 2, ((row % 2) * 2 + column % 2) * 3 + channel
        assert outputs[place] == images[batch, row, column, channel]
        assert back[batch, row, column, channel] == pytest.approx(cotangent[place], abs=TOLERANCE)
    with pytest.raises(ValueError, match=r"multiples of size=4\. Received shape \(2, 4, 6, 3\)"):
        Patches2D(4)(images)
    assert Patches2D(2).compute_output_shape((None, None, 8, 3)) == (None, None, 4, 12)


def test_places_are_added_and_kept_apart(rng):
    images = rng.normal(size=(2, 3, 4, 8)).astype(EXACT_DTYPE)
    layer = SinCosPositions2D(temperature=100.0, dtype=EXACT_DTYPE)
    outputs, cotangent, back, offset = _pulled(layer, images, rng)
    places = np.zeros((3, 4, 8))
    for row, column in np.ndindex(3, 4):
        for number, frequency in enumerate((1.0, 0.01)):
            for part, value in enumerate((column, row)):
                places[row, column, 4 * part + number] = np.sin(value * frequency)
                places[row, column, 4 * part + 2 + number] = np.cos(value * frequency)
    np.testing.assert_allclose(outputs - images, np.stack([places] * 2), atol=10 * TOLERANCE)
    np.testing.assert_allclose(back, cotangent, atol=TOLERANCE)
    expected = (cotangent * places).sum((1, 2, 3))
    np.testing.assert_allclose(offset, expected, atol=100 * TOLERANCE)
    with pytest.raises(ValueError, match="a multiple of 4 channels"):
        SinCosPositions2D()(images[..., :6])
    with pytest.raises(ValueError, match="a number above 1"):
        SinCosPositions2D(temperature=1.0)


def test_means_are_pulled_back_in_equal_shares(rng):
    images = rng.normal(size=(2, 3, 4, 2)).astype(EXACT_DTYPE)
    layer = GlobalAveragePooling2D(dtype=EXACT_DTYPE)
    outputs, cotangent, back, _ = _pulled(layer, images, rng)
    np.testing.assert_allclose(outputs, images.mean((1, 2), keepdims=True), atol=TOLERANCE)
    np.testing.assert_allclose(back, np.broadcast_to(cotangent / 12, images.shape), atol=TOLERANCE)
