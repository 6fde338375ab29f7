"""Convolutions and their transposes in both ways, against patches cut by loops."""

import numpy as np
import oracle
import pytest
from conftest import EXACT_DTYPE, gradients
from keras import ops

from coda_keras.layers.windows import (
    by_convolution,
    by_product,
    fold_equal,
    fold_patches,
    output_size,
)

TOLERANCE = 1e-9 if EXACT_DTYPE == "float64" else 1e-4
WAYS = [by_convolution, by_product]
SIZES = [(1, 1, (3, 2)), (3, 1, (1, 5)), (3, 2, (7, 4)), (1, 2, (4, 5)), (5, 3, (6, 9))]


def _numpy(tensor):
    return np.asarray(ops.convert_to_numpy(tensor), "float64")


def _tensor(array):
    return ops.convert_to_tensor(array, EXACT_DTYPE)


def _patches(inputs, kernel, strides):
    layer = oracle.Layer(None, kernel, None, strides, "l2")
    return np.array([oracle.patches(image, layer) for image in inputs])


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("kernel_size", "strides", "size"), SIZES)
def test_windows_are_convolved_and_folded(way, kernel_size, strides, size, rng):
    inputs = rng.normal(size=(2, *size, 3))
    kernel = rng.normal(size=(kernel_size, kernel_size, 3, 4))
    expected = np.einsum("bhwijc,ijcn->bhwn", _patches(inputs, kernel, strides), kernel)
    windows = way(_tensor(inputs), kernel_size, strides)
    convolved = windows.convolve(_tensor(kernel))
    np.testing.assert_allclose(_numpy(convolved), expected, rtol=TOLERANCE, atol=TOLERANCE)

    values = rng.normal(size=expected.shape)
    folded = _numpy(windows.fold(_tensor(values), _tensor(kernel)))
    assert folded.shape == inputs.shape
    # What any input pixel alone would be convolved to, times the values.
    pixels = np.eye(inputs[0].size).reshape(-1, *inputs.shape[1:])
    columns = np.einsum("xhwijc,ijcn->xhwn", _patches(pixels, kernel, strides), kernel)
    transposed = np.einsum("xhwn,bhwn->bx", columns, values).reshape(inputs.shape)
    np.testing.assert_allclose(folded, transposed, rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize(("kernel_size", "strides", "size"), SIZES)
def test_equal_patches_fold_like_any(kernel_size, strides, size, rng):
    sizes = [output_size(length, kernel_size, strides) for length in size]
    values = rng.normal(size=(2, *sizes, 3))
    patches = np.tile(values, (1, 1, 1, kernel_size**2))
    right = fold_patches(_tensor(patches), kernel_size, strides, *size)
    folded = fold_equal(_tensor(values), kernel_size, strides, *size)
    np.testing.assert_allclose(_numpy(folded), _numpy(right), rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize(("kernel_size", "strides", "size"), SIZES[2:4])
def test_both_ways_have_the_same_gradients(kernel_size, strides, size, rng):
    inputs = rng.normal(size=(2, *size, 3)).astype(EXACT_DTYPE)
    kernel = rng.normal(size=(kernel_size, kernel_size, 3, 4)).astype(EXACT_DTYPE)

    def objective(way):
        def of(inputs, kernel):
            windows = way(inputs, kernel_size, strides)
            convolved = windows.convolve(kernel)
            return ops.sum(windows.fold(ops.square(convolved), kernel) ** 2)

        return gradients(of, [], inputs, kernel)[1]

    for one, other in zip(*map(objective, WAYS), strict=True):
        scale = np.max(np.abs(other))
        np.testing.assert_allclose(one / scale, other / scale, atol=TOLERANCE)


@pytest.mark.tensorflow
@pytest.mark.parametrize("way", WAYS)
def test_sizes_may_be_unknown_until_the_graph_runs(way, rng):
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec((None, None, None, 3))], autograph=False)
    def back_and_forth(inputs):
        windows = way(inputs, 3, 2)
        return windows.fold(windows.convolve(kernel), kernel)

    kernel = tf.constant(rng.normal(size=(3, 3, 3, 4)), "float32")
    for size in ((1, 5, 4), (2, 8, 7)):
        inputs = tf.constant(rng.normal(size=(*size, 3)), "float32")
        windows = way(inputs, 3, 2)
        expected = windows.fold(windows.convolve(kernel), kernel)
        np.testing.assert_allclose(back_and_forth(inputs), expected, rtol=1e-4, atol=1e-4)
