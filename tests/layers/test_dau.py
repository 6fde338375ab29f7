"""Both implementations of `DAUConv2D` against each other and against the NumPy oracle."""

import itertools

import keras
import numpy as np
import oracle
import pytest
from conftest import BACKEND, EXACT_DTYPE, as_oracle, gradients, set_weights
from keras import ops

from coda_keras import DAUConv2D

IMPLEMENTATIONS = ["factored", "patches"]
RESCALES = ["squash", "l2"]


def _configurations():
    """Every kernel size with every stride; all else drawn with a fixed seed.

    On JAX, which compiles every shape, only half of them.
    """
    rng = np.random.default_rng(7)
    drawn = []
    for index, (kernel_size, strides) in enumerate(itertools.product((1, 3, 5, 7), (1, 2, 3))):
        batch, height, width = 1 + index % 3, *map(int, rng.integers(1, 9, size=2))
        channels, filters, rank = map(int, rng.integers(1, 5, size=3))
        arguments = {
            "filters": filters,
            "rank": rank,
            "kernel_size": kernel_size,
            "strides": strides,
            "rescale": RESCALES[int(rng.integers(2))],
            "use_bias": bool(rng.integers(4)),
        }
        shape = (batch, height, width, channels)
        name = f"k{kernel_size}-s{strides}-{'x'.join(map(str, shape))}-{arguments['rescale']}"
        if BACKEND == "jax" and index % 2:
            continue
        drawn.append(pytest.param(arguments, shape, id=f"{name}-bias{arguments['use_bias']:d}"))
    # Many outputs for every input of a window, and more entries of z' than are packed.
    wide = {"filters": 8, "rank": 18, "kernel_size": 3, "strides": 2, "rescale": "squash"}
    return [*drawn, pytest.param({**wide, "use_bias": True}, (2, 5, 4, 2), id="wide")]


CONFIGURATIONS = _configurations()


def _layer(arguments, shape, rng, dtype=EXACT_DTYPE, **overrides):
    layer = DAUConv2D(**{**arguments, "dtype": dtype, **overrides})
    layer.build(shape)
    set_weights(layer, rng)
    return layer


def _twin(layer, **overrides):
    """The same layer with the same weights but for some arguments."""
    twin = DAUConv2D.from_config({**layer.get_config(), **overrides})
    twin.build((None, None, None, layer.kernel.shape[2]))
    twin.set_weights(layer.get_weights())
    return twin


def _tolerance(dtype=EXACT_DTYPE):
    return {"rtol": 1e-9, "atol": 1e-9} if dtype == "float64" else {"rtol": 2e-4, "atol": 2e-5}


def _numpy(tensor):
    return np.asarray(ops.convert_to_numpy(tensor), "float64")


@pytest.mark.parametrize(("arguments", "shape"), CONFIGURATIONS)
def test_outputs_and_pullback_equal_the_oracle(arguments, shape, rng):
    factored = _layer(arguments, shape, rng)
    inputs = rng.normal(size=shape)
    reference = as_oracle(factored)
    expected = np.array([oracle.forward(x, reference) for x in inputs])
    cotangent = rng.normal(size=expected.shape)
    expected_pullback = [
        (oracle.matrix(x, reference).T @ g.ravel()).reshape(x.shape)
        for x, g in zip(inputs, cotangent)
    ]
    for layer in (factored, _twin(factored, implementation="patches")):
        outputs, pullback = layer.linearize(inputs)
        np.testing.assert_allclose(_numpy(outputs), expected, **_tolerance())
        pulled = pullback(ops.convert_to_tensor(cotangent, EXACT_DTYPE))
        np.testing.assert_allclose(_numpy(pulled), expected_pullback, **_tolerance())
        np.testing.assert_array_equal(
            _numpy(layer(ops.convert_to_tensor(inputs, EXACT_DTYPE))), _numpy(outputs)
        )
        assert layer.compute_output_shape(shape) == expected.shape


@pytest.mark.parametrize(("arguments", "shape"), CONFIGURATIONS)
def test_gradients_equal_the_oracle(arguments, shape, rng):
    """By every parameter and by the inputs: both forms elementwise, the oracle by differences."""
    factored = _layer(arguments, shape, rng)
    inputs = rng.normal(size=shape)
    cotangent = rng.normal(size=factored.compute_output_shape(shape))
    constant = ops.convert_to_tensor(cotangent, EXACT_DTYPE)

    def gradients_of(layer):
        return gradients(
            lambda x: ops.sum(layer(x) * constant), layer.variables, inputs.astype(EXACT_DTYPE)
        )[1]

    by_factored = gradients_of(factored)
    by_patches = gradients_of(_twin(factored, implementation="patches"))
    assert len(by_factored) == len(factored.variables) + 1
    exact = EXACT_DTYPE == "float64"
    for one, other in zip(by_factored, by_patches):
        scale = np.max(np.abs(other)) + 1e-12
        np.testing.assert_allclose(one / scale, other / scale, atol=1e-9 if exact else 1e-4)

    point = [*(_numpy(v) for v in factored.variables), inputs]
    direction = [rng.normal(size=value.shape) for value in point]

    def objective(step):
        *parameters, x = [value + step * d for value, d in zip(point, direction)]
        names = [v.name for v in factored.variables]
        layer = as_oracle(factored)._replace(**dict(zip(names, parameters)))
        return sum(np.sum(oracle.forward(i, layer) * g) for i, g in zip(x, cotangent))

    slope = (objective(1e-5) - objective(-1e-5)) / 2e-5
    change = sum(np.sum(g * d) for g, d in zip(by_factored, direction))
    size = sum(np.sum(np.abs(g * d)) for g, d in zip(by_factored, direction))
    assert abs(change - slope) <= (1e-7 if exact else 1e-4) * size + 1e-8


@pytest.mark.parametrize(("arguments", "shape"), CONFIGURATIONS[::2])
def test_implementations_agree_in_float32(arguments, shape, rng):
    factored = _layer(arguments, shape, rng, dtype="float32")
    inputs = rng.normal(size=shape).astype("float32")
    outputs, pullback = factored.linearize(inputs)
    other_outputs, other_pullback = _twin(factored, implementation="patches").linearize(inputs)
    np.testing.assert_allclose(_numpy(outputs), _numpy(other_outputs), rtol=2e-4, atol=2e-5)
    ones = ops.ones_like(outputs)
    np.testing.assert_allclose(
        _numpy(pullback(ones)), _numpy(other_pullback(ones)), rtol=2e-4, atol=2e-4
    )


@pytest.mark.parametrize(("arguments", "shape"), CONFIGURATIONS[::3])
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_dynamic_weights_and_alignment_equal_the_oracle(arguments, shape, implementation, rng):
    layer = _layer(arguments, shape, rng, implementation=implementation)
    inputs = rng.normal(size=shape)
    reference = as_oracle(layer)
    weights = layer.dynamic_weights(inputs)
    expected = np.array([oracle.dynamic_weights(x, reference) for x in inputs])
    np.testing.assert_allclose(_numpy(weights), expected, **_tolerance())
    expected = np.array([oracle.alignment(x, reference) for x in inputs])
    np.testing.assert_allclose(_numpy(layer.alignment(inputs)), expected, **_tolerance())


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("rescale", RESCALES)
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_zero_inputs_give_zeros_and_finite_gradients(implementation, rescale, use_bias, dtype, rng):
    arguments = {"filters": 3, "rank": 2, "kernel_size": 3, "use_bias": use_bias}
    shape = (2, 5, 4, 3)
    layer = _layer(arguments, shape, rng, dtype, rescale=rescale, implementation=implementation)
    # The first image is black; of the second one corner shines, most of its patches vanish.
    images = np.zeros(shape, "float32")
    images[1, 0, 0] = 1
    outputs, pullback = layer.linearize(images)
    np.testing.assert_array_equal(_numpy(ops.cast(outputs, "float32"))[0], 0)
    assert np.all(np.isfinite(_numpy(ops.cast(pullback(ops.ones_like(outputs)), "float32"))))
    alignment = _numpy(layer.alignment(images))
    np.testing.assert_array_equal(alignment[0], 0)
    assert np.all(np.isfinite(alignment))

    def objective(x):
        """Outputs and explanations must both be differentiable there."""
        outputs, pullback = layer.linearize(x)
        rows = pullback(ops.ones_like(outputs))
        return ops.sum(ops.cast(outputs, "float32")) + ops.sum(ops.cast(rows, "float32"))

    _, derivatives = gradients(objective, layer.variables, images)
    assert len(derivatives) == len(layer.variables) + 1
    for gradient in derivatives:
        assert np.all(np.isfinite(np.asarray(gradient, "float64")))


@pytest.mark.parametrize("rescale", RESCALES)
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_outputs_are_bounded_by_the_norm_of_the_patch(implementation, rescale, rng):
    layer = DAUConv2D(5, 3, 3, rescale=rescale, implementation=implementation)
    layer.build((None, None, None, 2))
    for size in (0.01, 1.0, 100.0):
        set_weights(layer, rng, scale=size)
        inputs = (size * rng.normal(size=(3, 6, 5, 2))).astype("float32")
        norms = [
            np.sqrt(np.sum(oracle.patches(x, as_oracle(layer)) ** 2, axis=(-3, -2, -1)))
            for x in np.asarray(inputs, "float64")
        ]
        outputs = _numpy(layer(ops.convert_to_tensor(inputs)))
        assert np.all(np.abs(outputs) <= np.array(norms)[..., None] * (1 + 1e-5))


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_aligned_weights_reach_the_bound(implementation, rng):
    patch = rng.normal(size=(1, 1, 1, 8)).astype("float32")
    layer = DAUConv2D(1, 1, 1, rescale="l2", implementation=implementation)
    layer.build(patch.shape)
    layer.set_weights([np.zeros((1, 1, 8, 1)), np.zeros((1, 1, 8, 1, 1)), 3 * patch[0, ..., None]])
    outputs = layer(ops.convert_to_tensor(patch))
    assert _numpy(outputs).item() == pytest.approx(np.linalg.norm(patch), rel=1e-6)
    assert _numpy(layer.alignment(patch)).item() == pytest.approx(1, abs=1e-6)


def _cancelling(implementation):
    """`u = 64 - 63 = 1` in each of 27 entries, every number exact in bfloat16.

    The Gram matrix sums 27 * 64^2; in bfloat16 its rounding error alone exceeds ||u||^2 = 27.
    """
    layer = DAUConv2D(1, 1, 3, rescale="l2", implementation=implementation, dtype="mixed_bfloat16")
    layer.build((1, 1, 1, 3))
    layer.set_weights(
        [np.ones((3, 3, 3, 1)), np.full((3, 3, 3, 1, 1), 64.0), np.full((3, 3, 3, 1), -63.0)]
    )
    return layer, np.array([1, 0, 0], "float32").reshape(1, 1, 1, 3)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_mixed_bfloat16_survives_cancellation_in_the_norm(implementation):
    layer, inputs = _cancelling(implementation)
    outputs = layer(ops.convert_to_tensor(inputs))
    assert keras.backend.standardize_dtype(outputs.dtype) == "bfloat16"
    assert _numpy(ops.cast(outputs, "float32")).item() == pytest.approx(27**-0.5, rel=2**-8)


def test_a_norm_in_bfloat16_would_fail_there(monkeypatch):
    monkeypatch.setattr(DAUConv2D, "_norm_dtype", "bfloat16")
    layer, inputs = _cancelling("factored")
    outputs = layer(ops.convert_to_tensor(inputs))
    assert abs(_numpy(ops.cast(outputs, "float32")).item() - 27**-0.5) > 0.1 * 27**-0.5


@pytest.mark.parametrize("rescale", RESCALES)
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_mixed_bfloat16_is_close_to_float32(implementation, rescale, rng):
    arguments = {"filters": 8, "rank": 6, "kernel_size": 3, "rescale": rescale}
    shape = (2, 9, 9, 4)
    exact = _layer(arguments, shape, rng, "float32", implementation=implementation)
    mixed = _twin(exact, dtype="mixed_bfloat16")
    assert {keras.backend.standardize_dtype(v.dtype) for v in mixed.variables} == {"float32"}
    inputs = rng.normal(size=shape).astype("float32")
    outputs, pullback = exact.linearize(inputs)
    mixed_outputs, mixed_pullback = mixed.linearize(inputs)
    for one, other in (
        (mixed_outputs, outputs),
        (mixed_pullback(ops.ones_like(mixed_outputs)), pullback(ops.ones_like(outputs))),
    ):
        assert keras.backend.standardize_dtype(one.dtype) == "bfloat16"
        difference = _numpy(ops.cast(one, "float32")) - _numpy(other)
        assert np.sqrt(np.mean(difference**2)) < 0.02 * np.sqrt(np.mean(_numpy(other) ** 2))


@pytest.mark.parametrize("use_bias", [True, False])
def test_weights_have_the_documented_shapes_and_initial_range(use_bias):
    layer = DAUConv2D(filters=12, rank=9, kernel_size=5, use_bias=use_bias)
    layer.build((None, None, None, 7))
    depth = 5 * 5 * 7
    expected = {"projection": ((5, 5, 7, 9), depth), "kernel": ((5, 5, 7, 12, 9), 9)}
    if use_bias:
        expected["bias"] = ((5, 5, 7, 12), 9)
    assert {v.name: tuple(v.shape) for v in layer.variables} == {
        name: shape for name, (shape, _) in expected.items()
    }
    assert layer.count_params() == depth * 9 + depth * 12 * 9 + use_bias * depth * 12
    for variable in layer.variables:
        limit = 1 / np.sqrt(expected[variable.name][1])
        values = _numpy(variable)
        assert 0.98 * limit < np.max(np.abs(values)) <= limit * (1 + 1e-6)
        assert np.std(values) == pytest.approx(limit / np.sqrt(3), rel=0.05)


def test_two_layers_start_with_different_weights():
    first, second = DAUConv2D(3, 2, 3), DAUConv2D(3, 2, 3)
    first.build((None, None, None, 2))
    second.build((None, None, None, 2))
    assert not np.array_equal(_numpy(first.kernel), _numpy(second.kernel))


def test_initializers_and_regularizers_are_used():
    layer = DAUConv2D(
        2,
        3,
        1,
        projection_initializer="ones",
        kernel_initializer="zeros",
        bias_initializer=keras.initializers.Constant(2.0),
        projection_regularizer=keras.regularizers.L1(1.0),
        kernel_regularizer=keras.regularizers.L1(10.0),
        bias_regularizer=keras.regularizers.L1(100.0),
    )
    layer.build((None, None, None, 4))
    np.testing.assert_array_equal(_numpy(layer.projection), 1)
    np.testing.assert_array_equal(_numpy(layer.kernel), 0)
    np.testing.assert_array_equal(_numpy(layer.bias), 2)
    assert sum(_numpy(loss).item() for loss in layer.losses) == 4 * 3 * 1 + 0 + 4 * 2 * 2 * 100


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"filters": 0}, "`filters` must be a positive integer.*filters=0"),
        ({"filters": 2.5}, "`filters` must be a positive integer.*filters=2.5"),
        ({"rank": True}, "`rank` must be a positive integer.*rank=True"),
        ({"kernel_size": -3}, "`kernel_size` must be a positive integer.*kernel_size=-3"),
        ({"kernel_size": (3, 3)}, r"`kernel_size` must be a positive integer"),
        ({"kernel_size": 4}, "`kernel_size` must be odd.*kernel_size=4"),
        ({"strides": "2"}, "`strides` must be a positive integer.*strides='2'"),
        ({"strides": 10**9}, "`strides` must be a positive integer of at most 512"),
        ({"rescale": "relu"}, "Unknown `rescale`: 'relu'"),
        ({"implementation": "fast"}, r"Unknown `implementation`: 'fast'.*factored.*patches"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        DAUConv2D(**{"filters": 2, "rank": 2, "kernel_size": 3, **arguments})


def test_numpy_integers_are_accepted():
    layer = DAUConv2D(np.int64(2), np.int32(3), np.int64(3), strides=np.int8(2))
    assert (layer.filters, layer.rank, layer.kernel_size, layer.strides) == (2, 3, 3, 2)
    assert all(type(n) is int for n in (layer.filters, layer.rank))


def test_bad_inputs(rng):
    layer = DAUConv2D(2, 2, 3)
    with pytest.raises(ValueError, match=r"batch, height, width, channels"):
        layer.build((None, 8, 8, None))
    with pytest.raises(ValueError, match="ndim=4"):
        layer(np.zeros((8, 8, 3), "float32"))
    layer(np.zeros((1, 4, 4, 3), "float32"))
    with pytest.raises(ValueError, match=r"(?i)channels|axes|shape"):
        layer(np.zeros((1, 4, 4, 5), "float32"))


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("strides", [1, 2, 3])
def test_functional_use_with_unknown_image_size(implementation, strides, rng):
    inputs = keras.Input((None, None, 3))
    layer = DAUConv2D(4, 2, 5, strides=strides, implementation=implementation)
    outputs = layer(inputs)
    assert outputs.shape == (None, None, None, 4)
    assert layer(keras.Input((7, 8, 3))).shape == layer.compute_output_shape((None, 7, 8, 3))
    model = keras.Model(inputs, DAUConv2D(2, 3, 3)(outputs))
    for height, width in ((7, 4), (1, 9)):
        images = rng.uniform(size=(2, height, width, 3)).astype("float32")
        values = images.astype("float64")
        for stage in (layer, model.layers[-1]):
            values = np.array([oracle.forward(x, as_oracle(stage)) for x in values])
        np.testing.assert_allclose(_numpy(model(images)), values, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_inputs_are_cast_and_the_layer_built_by_linearize(implementation):
    layer = DAUConv2D(2, 2, 3, implementation=implementation)
    images = np.arange(2 * 4 * 4 * 3).reshape(2, 4, 4, 3)
    outputs, pullback = layer.linearize(images)
    assert layer.built
    assert keras.backend.standardize_dtype(outputs.dtype) == "float32"
    assert tuple(pullback(outputs).shape) == images.shape


@pytest.mark.tensorflow
@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize(("kernel_size", "strides"), [(3, 2), (5, 3), (1, 2)])
def test_graphs_give_the_same_numbers(implementation, jit_compile, kernel_size, strides, rng):
    import tensorflow as tf

    layer = DAUConv2D(3, 2, kernel_size, strides, implementation=implementation)
    layer.build((None, None, None, 2))

    @tf.function(
        jit_compile=jit_compile,
        input_signature=[tf.TensorSpec((None, None, None, 2))],
        autograph=False,
    )
    def in_graph(images):
        outputs, pullback = layer.linearize(images)
        return outputs, pullback(tf.ones_like(outputs))

    for shape in ((2, 5, 6, 2), (1, 8, 3, 2)):
        images = rng.normal(size=shape).astype("float32")
        outputs, pullback = layer.linearize(images)
        expected = outputs, pullback(ops.ones_like(outputs))
        for one, other in zip(in_graph(images), expected):
            assert one.shape == other.shape
            np.testing.assert_allclose(_numpy(one), _numpy(other), rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(BACKEND != "jax", reason="jax.jit")
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_jit_gives_the_same_numbers(implementation, rng):
    import jax

    layer = DAUConv2D(3, 2, 3, 2, implementation=implementation)
    images = rng.normal(size=(2, 5, 6, 2)).astype("float32")

    def both(images):
        outputs, pullback = layer.linearize(images)
        return outputs, pullback(ops.ones_like(outputs))

    expected = both(images)
    for one, other in zip(jax.jit(both)(images), expected):
        np.testing.assert_allclose(_numpy(one), _numpy(other), rtol=1e-4, atol=1e-5)
