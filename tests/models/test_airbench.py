"""The net that teaches others."""

import keras
import numpy as np

from coda_keras.models.airbench import PartialIdentity, airbench, whiten


def test_whitened_patches_have_unit_variance_and_no_correlation():
    random = np.random.default_rng(0)
    smooth = random.normal(size=(200, 33, 33, 3)).cumsum(1).cumsum(2)
    smooth = 40 * (smooth - smooth.mean()) / smooth.std() + 120
    images = np.clip(smooth, 0, 255)[:, :32, :32].astype("uint8")
    net = airbench()
    whiten(net, images)
    whitened = keras.Model(net.input, net.get_layer("whitening").output)
    outputs = whitened.predict(images.astype("float32") / 255.0, verbose=0)
    assert outputs.shape == (200, 31, 31, 24)
    np.testing.assert_allclose(outputs[..., 12:], -outputs[..., :12], atol=1e-4)
    columns = outputs[..., :12].reshape(-1, 12)
    # All but directions whose variance is not far above the ridge.
    second = columns.T @ columns / len(columns)
    np.testing.assert_allclose(second[-6:, -6:], np.eye(6), atol=0.05)
    trainable = {id(variable) for variable in net.trainable_variables}
    assert id(net.get_layer("whitening").kernel) not in trainable


def test_first_filters_hand_their_channel_on():
    convolve = keras.layers.Conv2D(
        5, 3, padding="same", use_bias=False, kernel_initializer=PartialIdentity(seed=1)
    )
    images = np.random.default_rng(0).normal(size=(2, 6, 6, 3)).astype("float32")
    outputs = keras.ops.convert_to_numpy(convolve(images))
    np.testing.assert_allclose(outputs[..., :3], images, atol=1e-5)
    assert np.abs(outputs[..., 3:]).min(axis=(0, 1, 2)).max() > 0
    noise = keras.ops.convert_to_numpy(convolve.kernel)[..., 3:]
    assert 0.7 / 27**0.5 < np.abs(noise).max() <= 1 / 27**0.5


def test_it_is_saved_and_loaded(tmp_path):
    net = airbench(classes=4)
    images = np.random.default_rng(0).uniform(size=(3, 32, 32, 3)).astype("float32")
    net.save(tmp_path / "teacher.keras")
    loaded = keras.models.load_model(tmp_path / "teacher.keras")
    np.testing.assert_allclose(
        loaded.predict(images, verbose=0), net.predict(images, verbose=0), atol=1e-6
    )
