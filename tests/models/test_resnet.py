import math

import keras
import numpy as np
import pytest
from keras import ops

from coda_keras.models.resnet import (
    PaddedShortcut,
    _convolution,
    resnet50,
    resnet56,
    with_image_size,
)


def images(*shape, seed=0):
    return np.random.default_rng(seed).random(shape, "float32")


def test_resnet56_has_the_published_size():
    model = resnet56()
    weighted = (keras.layers.Conv2D, keras.layers.Dense)
    assert sum(isinstance(layer, weighted) for layer in model.layers) == 56
    # By hand: kernels, two BatchNormalization weights a channel, the classifier.
    kernels = 9 * (3 * 16 + 18 * 16 * 16)
    kernels += 9 * (16 * 32 + 17 * 32 * 32 + 32 * 64 + 17 * 64 * 64)
    normalisation = 2 * (19 * 16 + 18 * 32 + 18 * 64)
    expected = kernels + normalisation + 64 * 10 + 10
    assert sum(math.prod(v.shape) for v in model.trainable_variables) == expected == 853018
    assert model.output_shape == (None, 10)
    assert model.get_layer("last_activation").output.shape == (None, 8, 8, 64)


def test_resnet50_has_the_published_size():
    model = resnet50(classes=1000, image_size=None)
    # 25.6 million, as He et al.; BatchNormalization and the biases of convolutions with it.
    assert sum(math.prod(v.shape) for v in model.trainable_variables) == 25_583_592
    assert model.output_shape == (None, 1000) and model.output.dtype == "float32"
    assert model.get_layer("conv5_block3_out").output.shape == (None, None, None, 2048)


@pytest.mark.parametrize("depth", [2, 7, 55])
def test_other_depths_are_refused(depth):
    with pytest.raises(ValueError, match=f"depth={depth}"):
        resnet56(depth=depth)


def test_shortcut_against_loops():
    inputs = images(2, 5, 6, 3)
    outputs = ops.convert_to_numpy(PaddedShortcut(5, 2)(inputs))
    assert outputs.shape == (2, 3, 3, 5)
    expected = np.zeros((2, 3, 3, 5))
    for row in range(3):
        for column in range(3):
            expected[:, row, column, :3] = inputs[:, 2 * row, 2 * column]
    np.testing.assert_array_equal(outputs, expected)


@pytest.mark.parametrize("strides", [1, 2])
def test_convolution_is_centred_on_what_the_shortcut_keeps(strides):
    inputs = keras.Input((6, 8, 16))
    model = keras.Model(inputs, _convolution(inputs, 16, strides))
    centre = np.zeros((3, 3, 16, 16))
    centre[1, 1] = np.eye(16)
    convolution, normalisation = model.layers[-2:]
    convolution.set_weights([centre])
    normalisation.epsilon = 0.0
    values = images(1, 6, 8, 16)
    kept = ops.convert_to_numpy(PaddedShortcut(16, strides)(values))
    np.testing.assert_allclose(ops.convert_to_numpy(model(values)), kept, atol=1e-6)


def test_sizes_share_weights():
    model = resnet56(classes=3, depth=8, image_size=(16, 20))
    free = with_image_size(model, None)
    small = images(2, 16, 20, 3)
    expected = ops.convert_to_numpy(model(small))
    np.testing.assert_allclose(ops.convert_to_numpy(free(small)), expected, atol=1e-6)
    assert free(images(1, 48, 60, 3)).shape == (1, 3)
    model.layers[-1].bias.assign([1.0, 2.0, 3.0])
    shifted = expected + np.arange(1, 4)
    np.testing.assert_allclose(ops.convert_to_numpy(free(small)), shifted, atol=1e-5)
    assert with_image_size(free, 16).input_shape == (None, 16, 16, 3)


def test_file_round_trip(tmp_path):
    model = resnet56(depth=8, image_size=16)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    inputs = images(2, 16, 16, 3)
    np.testing.assert_allclose(
        ops.convert_to_numpy(again(inputs)), ops.convert_to_numpy(model(inputs)), atol=1e-6
    )


def test_it_learns():
    keras.utils.set_random_seed(0)
    model = resnet56(classes=2, depth=8, image_size=8)
    labels = np.arange(32) % 2
    inputs = 0.3 * images(32, 8, 8, 3) + 0.5 * labels[:, None, None, None]
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.01), loss, jit_compile=False)
    history = model.fit(inputs, labels, epochs=6, batch_size=16, verbose=0).history["loss"]
    assert history[-1] < 0.5 * history[0]
