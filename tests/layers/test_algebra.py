"""Every layer of the algebra against its matrix, written down entry by entry."""

import layer_oracle as oracle
import numpy as np
import pytest
from conftest import EXACT_DTYPE, gradients, set_weights
from keras import ops

from coda_keras import DAUConv2D, DynamicLinear, ReceptiveField
from coda_keras.layers import (
    AveragePooling2D,
    BcosConv2D,
    BcosDense,
    Chain,
    DynamicBatchNormalization,
    DynamicLayerNormalization,
    DynamicSelfAttention,
    MaxOut,
    MaxPooling2D,
    Parallel,
    ReLU,
    Residual,
    linearize,
    with_offset,
)
from coda_keras.layers.offset import pull

TOLERANCE = {"float64": 1e-10, "float32": 2e-4}[EXACT_DTYPE]


def _array(tensor):
    return np.asarray(ops.convert_to_numpy(tensor), "float64")


def _variance(layer):
    return _array(layer.moving_variance)


def _per_position(place):
    return place[:2]


def _all_values(_):
    return 0


# A layer, the shape of an image, and its matrix.
CASES = {
    "bcos": (
        lambda **k: BcosConv2D(4, 3, **k),
        (5, 4, 3),
        lambda x, layer: oracle.bcos_conv(x, _array(layer.kernel), 1, 2, 1),
    ),
    "bcos strides, b, max_out": (
        lambda **k: BcosConv2D(2, 5, strides=2, b=1.5, max_out=3, **k),
        (6, 7, 2),
        lambda x, layer: oracle.bcos_conv(x, _array(layer.kernel), 2, 1.5, 3),
    ),
    "bcos b=1": (
        lambda **k: BcosConv2D(3, 1, strides=3, b=1, **k),
        (5, 4, 2),
        lambda x, layer: oracle.bcos_conv(x, _array(layer.kernel), 3, 1, 1),
    ),
    "bcos dense": (
        lambda **k: BcosDense(4, b=2, max_out=2, **k),
        (5, 3),
        lambda x, layer: oracle.bcos_dense(x, _array(layer.kernel), 2, 2),
    ),
    "bcos dense b": (
        lambda **k: BcosDense(3, b=1.25, **k),
        (4, 3),
        lambda x, layer: oracle.bcos_dense(x, _array(layer.kernel), 1.25, 1),
    ),
    "average 2": (
        lambda **k: AveragePooling2D(2, **k),
        (5, 7, 2),
        lambda x, _: oracle.average_pooling(x, 2, 2),
    ),
    "average 3": (
        lambda **k: AveragePooling2D(3, strides=2, **k),
        (6, 5, 2),
        lambda x, _: oracle.average_pooling(x, 3, 2),
    ),
    "max 2": (
        lambda **k: MaxPooling2D(2, **k),
        (5, 7, 2),
        lambda x, _: oracle.max_pooling(x, 2, 2),
    ),
    "max 3": (
        lambda **k: MaxPooling2D(3, strides=2, **k),
        (6, 5, 2),
        lambda x, _: oracle.max_pooling(x, 3, 2),
    ),
    "relu": (ReLU, (3, 2, 4), lambda x, _: oracle.relu(x)),
    "max out": (lambda **k: MaxOut(3, **k), (2, 3, 6), lambda x, _: oracle.max_out(x, 3)),
    "batch": (
        DynamicBatchNormalization,
        (2, 3, 4),
        lambda x, layer: oracle.batch_normalization(x, _variance(layer), _array(layer.gamma), 1e-5),
    ),
    "layer": (
        lambda **k: DynamicLayerNormalization(epsilon=0.1, **k),
        (2, 3, 4),
        lambda x, layer: oracle.layer_normalization(
            x, _array(layer.gamma), 0.1, _per_position, center=True
        ),
    ),
    "layer, all values": (
        lambda **k: DynamicLayerNormalization(axis=(1, 2, 3), center=False, scale=False, **k),
        (2, 3, 4),
        lambda x, _: oracle.layer_normalization(x, np.ones(4), 1e-5, _all_values, center=False),
    ),
    "attention": (
        lambda **k: DynamicSelfAttention(2, 3, **k),
        (5, 4),
        lambda x, layer: oracle.self_attention(
            x, *map(_array, (layer.query, layer.key, layer.value)), heads=2
        ),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_outputs_and_pullback_equal_the_matrix(name, rng):
    make, shape, matrix = CASES[name]
    layer = make(dtype=EXACT_DTYPE)
    layer.build((None, *shape))
    set_weights(layer, rng)
    images = rng.normal(size=(3, *shape))
    # Where nothing is seen nothing may be divided by zero.
    images[2] = 0
    outputs, pullback = layer.linearize(images.astype(EXACT_DTYPE))
    cotangent = rng.normal(size=outputs.shape)
    pulled = _array(pullback(ops.cast(cotangent, outputs.dtype)))
    for image, values, given, back in zip(images[:2], _array(outputs), cotangent, pulled):
        expected = matrix(image, layer)
        np.testing.assert_allclose(values.ravel(), expected @ image.ravel(), atol=TOLERANCE)
        np.testing.assert_allclose(back.ravel(), given.ravel() @ expected, atol=TOLERANCE)
    np.testing.assert_array_equal(_array(outputs)[2], 0)
    assert np.all(np.isfinite(pulled))


@pytest.mark.slow_on_jax
@pytest.mark.parametrize("name", CASES)
def test_gradients_are_finite_at_zeros(name, rng):
    make, shape, _ = CASES[name]
    layer = make()
    layer.build((None, *shape))
    weights = layer.trainable_variables
    _, found = gradients(
        lambda x: ops.sum(layer(x) * (1 + layer(x))), weights, np.zeros((2, *shape), "float32")
    )
    assert all(np.all(np.isfinite(gradient)) for gradient in found)


@pytest.mark.parametrize("b", [2.0, 1.5])
def test_dynamic_weights_are_rows_of_the_matrix(b, rng):
    layer = BcosConv2D(2, 3, strides=2, b=b, max_out=2, dtype=EXACT_DTYPE)
    image = rng.normal(size=(1, 5, 4, 3)).astype(EXACT_DTYPE)
    layer.build(image.shape)
    set_weights(layer, rng)
    weights = _array(layer.dynamic_weights(image))[0]
    expected = oracle.bcos_conv(image[0], _array(layer.kernel), 2, b, 2)
    assert weights.shape == (3, 2, 2, 3, 3, 3)
    # The last position but for its padding.
    inside = weights[2, 1, 1, :2, :, :]
    rows = expected.reshape(3, 2, 2, 5, 4, 3)
    np.testing.assert_allclose(rows[2, 1, 1, 3:5, 1:4], inside, atol=TOLERANCE)


def _matrix(layer, image):
    """W(x) of a layer, from its pullback."""
    outputs, pullback = layer.linearize(image[None])
    rows = np.eye(int(np.prod(outputs.shape[1:]))).reshape(-1, 1, *outputs.shape[1:])
    return np.array([_array(pullback(ops.cast(row, outputs.dtype))).ravel() for row in rows])


def test_compositions_are_products_and_sums_of_matrices(rng):
    first, second = BcosConv2D(4, 3, dtype=EXACT_DTYPE), DAUConv2D(3, 2, 3, dtype=EXACT_DTYPE)
    image = rng.normal(size=(2, 3, 3)).astype(EXACT_DTYPE)
    chain = Chain([first, second], dtype=EXACT_DTYPE)
    chain.build((None, *image.shape))
    set_weights(chain, rng)
    inside = _array(first(image[None]))[0].astype(EXACT_DTYPE)
    ways = _matrix(second, inside) @ _matrix(first, image)

    def assert_is(layer, expected):
        np.testing.assert_allclose(_matrix(layer, image), expected, atol=TOLERANCE)
        outputs = _array(layer(image[None])).ravel()
        np.testing.assert_allclose(outputs, expected @ image.ravel(), atol=TOLERANCE)

    assert_is(chain, ways)
    assert_is(Residual([first, second], dtype=EXACT_DTYPE), ways + np.eye(18))
    third = BcosConv2D(3, 1, dtype=EXACT_DTYPE)
    around = Residual(chain, shortcut=third, dtype=EXACT_DTYPE)
    around.build((None, *image.shape))
    assert_is(around, ways + _matrix(third, image))
    beside = Parallel([[], [first, second], first], dtype=EXACT_DTYPE)
    parts = [matrix.reshape(2, 3, -1, 18) for matrix in (np.eye(18), ways, _matrix(first, image))]
    assert_is(beside, np.concatenate(parts, axis=2).reshape(-1, 18))
    assert beside.compute_output_shape((None, 2, 3, 3)) == (None, 2, 3, 10)


class Shift(DynamicLinear):
    """Triples, and adds a constant to every channel."""

    def linearize(self, inputs):
        inputs = self.prepare(inputs)
        constant = ops.arange(1, inputs.shape[-1] + 1, dtype=inputs.dtype)
        return 3 * inputs + constant, with_offset(lambda cotangent: 3 * cotangent, constant)


@pytest.mark.parametrize(
    "layers",
    [
        [Shift(), Shift()],
        [ReLU(), Shift(), BcosConv2D(4, 3), ReLU()],
        [Residual([Shift(), Shift()], shortcut=Shift()), ReLU()],
        [Parallel([Shift(), [], [Shift(), Shift()]]), MaxOut(2)],
        [Shift(), DAUConv2D(3, 2, 3, strides=2), Shift()],
    ],
)
def test_added_constants_are_carried_and_told_apart(layers, rng):
    inputs = rng.normal(size=(2, 5, 4, 2)).astype("float32")
    outputs, pullback = linearize(layers, ops.convert_to_tensor(inputs))
    cotangent = rng.normal(size=outputs.shape).astype("float32")
    pulled, offset = pull(pullback, ops.convert_to_tensor(cotangent))
    explained = np.sum(_array(pulled) * inputs, axis=(1, 2, 3))
    total = np.sum(cotangent * _array(outputs), axis=(1, 2, 3))
    np.testing.assert_allclose(explained + _array(offset), total, rtol=1e-4, atol=1e-4)
    assert np.all(np.abs(_array(offset)) > 1e-3)
    np.testing.assert_array_equal(
        _array(pullback(ops.convert_to_tensor(cotangent))), _array(pulled)
    )


def test_receptive_fields_of_compositions():
    three, two = BcosConv2D(2, 3), AveragePooling2D(2)
    assert Chain([three, two]).receptive_field == ReceptiveField(4, 2, -1)
    assert Residual([three, three]).receptive_field == ReceptiveField(5, 1, -2)
    assert Parallel([three, two]).receptive_field is None
    assert Residual(DynamicSelfAttention(1, 2)).receptive_field is None
    assert DynamicLayerNormalization(axis=(1, 2, 3)).receptive_field is None


def test_training_by_the_variance_of_the_batch(rng):
    inputs = rng.normal(3.0, 2.0, size=(6, 3, 4, 2)).astype("float32")
    norm = DynamicBatchNormalization(momentum=0.75, epsilon=0.5)
    # The layer around it hands `training` on.
    layer = Residual([norm])
    variance = inputs.var(axis=(0, 1, 2))
    trained = _array(layer(inputs, training=True))
    np.testing.assert_allclose(trained, inputs + inputs / np.sqrt(variance + 0.5), rtol=1e-5)
    moved = 0.75 + 0.25 * variance
    np.testing.assert_allclose(_variance(norm), moved, rtol=1e-5)
    np.testing.assert_allclose(
        _array(layer(inputs)), inputs + inputs / np.sqrt(moved + 0.5), rtol=1e-5
    )
    norm.trainable = False
    layer(inputs, training=True)
    np.testing.assert_allclose(_variance(norm), moved, rtol=1e-5)


def test_attention_is_what_values_are_mixed_by(rng):
    layer = DynamicSelfAttention(2, 3)
    tokens = rng.normal(size=(2, 2, 3, 4)).astype("float32")
    matrix = _array(layer.attention(tokens))
    assert matrix.shape == (2, 2, 6, 6)
    np.testing.assert_allclose(matrix.sum(axis=-1), 1, rtol=1e-5)
    values = (tokens.reshape(2, 6, 4) @ _array(layer.value)).reshape(2, 6, 2, 3)
    expected = np.einsum("bhij,bjhc->bihc", matrix, values).reshape(2, 2, 3, 6)
    np.testing.assert_allclose(_array(layer(tokens)), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: BcosConv2D(3, 2), "`kernel_size` must be odd"),
        (lambda: BcosConv2D(3, 3, b=0.5), "`b` must be a number of at least 1"),
        (lambda: MaxOut(2)(np.zeros((1, 2, 2, 3))), "multiple of pieces=2"),
        (lambda: MaxPooling2D(65), "`pool_size` must be a positive integer of at most 64"),
        (lambda: AveragePooling2D(2, 513), "`strides` must be a positive integer of at most 512"),
        (lambda: Parallel([]), "`branches` is empty"),
        (lambda: Parallel([ReLU()], merge="mean"), "Unknown `merge`"),
        (lambda: Residual([3]), "has no `linearize` method"),
        (lambda: Residual(BcosConv2D(4, 3))(np.zeros((1, 2, 2, 3))), "return different shapes"),
        (lambda: DynamicBatchNormalization(momentum=1), "`momentum` must be in"),
        (lambda: DynamicLayerNormalization(epsilon=0), "`epsilon` must be in"),
        (lambda: DynamicLayerNormalization(axis=0)(np.zeros((1, 2, 3))), "`axis` must be axes"),
    ],
)
def test_wrong_arguments_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
