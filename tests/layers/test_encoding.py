import numpy as np
import oracle
import pytest
from keras import ops

from coda_keras import CoDANet, DAUConv2D, encode


@pytest.mark.parametrize("shape", [(1, 1, 1, 3), (2, 5, 4, 3)])
def test_encoding_equals_the_oracle(shape, rng):
    images = rng.uniform(size=shape).astype("float32")
    encoded = ops.convert_to_numpy(encode(ops.convert_to_tensor(images)))
    assert encoded.shape == (*shape[:3], 6)
    np.testing.assert_allclose(encoded, [oracle.encode(image) for image in images], atol=1e-7)


def test_pairs_of_channels_sum_to_one(rng):
    images = ops.convert_to_tensor(rng.uniform(size=(2, 3, 3, 3)).astype("float32"))
    encoded = ops.convert_to_numpy(encode(images))
    np.testing.assert_allclose(encoded[..., :3] + encoded[..., 3:], 1, atol=1e-7)


def test_six_channels_pass_unchanged(rng):
    encoded = rng.uniform(size=(2, 3, 4, 6)).astype("float32")
    np.testing.assert_array_equal(
        ops.convert_to_numpy(encode(ops.convert_to_tensor(encoded))), encoded
    )


@pytest.mark.parametrize("channels", [3, 6])
def test_integers_are_refused(channels):
    with pytest.raises(ValueError, match=r"floats in \[0, 1\].*uint8.*by 255"):
        encode(np.zeros((1, 2, 2, channels), "uint8"))


@pytest.mark.parametrize("channels", [1, 2, 4, 7])
def test_other_channels_are_refused(channels):
    with pytest.raises(ValueError, match=rf"3 channels.*6 channels.*\(1, 2, 2, {channels}\)"):
        encode(np.zeros((1, 2, 2, channels), "float32"))


@pytest.mark.tensorflow
def test_predict_takes_both_kinds_of_images_in_turn(rng):
    net = CoDANet([DAUConv2D(3, 2, 3)], temperature=1)
    images = rng.uniform(size=(2, 5, 5, 3)).astype("float32")
    encoded = np.concatenate([images, 1 - images], axis=-1)
    expected = net.predict(images, verbose=0)
    for inputs in (encoded, images, encoded):
        np.testing.assert_allclose(net.predict(inputs, verbose=0), expected, rtol=1e-6)
    with pytest.raises(Exception, match=r"reshape|input depth"):
        net.predict(np.zeros((2, 5, 5, 4), "float32"), verbose=0)
