"""Every backend behind the same functions, against closed forms."""

import keras
import numpy as np
import pytest
from conftest import BACKEND
from keras import ops
from processes import run_in_process

from coda_keras import backend


@pytest.fixture
def model():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, use_bias=False)])
    model.set_weights([np.arange(6.0).reshape(3, 2)])
    return model


def test_the_largest_value_is_the_first_of_equals():
    values = np.array([[[1, 3, 3], [2, 0, -1]], [[-5, -7, -5], [0, 0, 4]]], "float32")
    for axis, expected in ((-1, [[1, 0], [0, 2]]), (-2, [[1, 0, 0], [1, 1, 1]])):
        found = ops.convert_to_numpy(backend.argmax(ops.convert_to_tensor(values), axis))
        assert found.dtype == "int32"
        np.testing.assert_array_equal(found, expected)


def test_gradient_of_a_tensor(rng):
    x = rng.normal(size=(4, 3)).astype("float32")
    gradient = backend.gradient(lambda x: ops.sin(2 * x), ops.convert_to_tensor(x))
    np.testing.assert_allclose(
        ops.convert_to_numpy(gradient), 2 * np.cos(2 * x), rtol=1e-4, atol=1e-6
    )


def test_gradient_of_a_list(rng):
    """Outputs of any shape are summed; what they do not depend on has gradient zero."""
    x, y, z = (rng.normal(size=size).astype("float32") for size in ((4, 3), (4, 1), (2, 5)))
    gradients = backend.gradient(
        lambda values: ops.square(values[0]) * values[1],
        [ops.convert_to_tensor(value) for value in (x, y, z)],
    )
    assert isinstance(gradients, list)
    expected = [2 * x * y, np.sum(x**2, axis=1, keepdims=True), np.zeros_like(z)]
    for one, other in zip(gradients, expected):
        np.testing.assert_allclose(ops.convert_to_numpy(one), other, rtol=1e-4, atol=1e-6)


def test_compiled_takes_and_returns_arrays(model, rng):
    run = backend.compiled(lambda x, y: model(x) + y, model)
    for rows in (4, 1, 4):
        x, y = rng.normal(size=(rows, 3)).astype("float32"), np.ones((rows, 2), "float32")
        outputs = run(x, y)
        assert isinstance(outputs, np.ndarray)
        np.testing.assert_allclose(outputs, x @ np.arange(6.0).reshape(3, 2) + y, rtol=1e-5)


def test_compiled_returns_dicts(model, rng):
    run = backend.compiled(lambda x: {"logits": model(x), "total": ops.sum(x)}, model)
    x = rng.normal(size=(4, 3)).astype("float32")
    results = run(x)
    assert list(results) == ["logits", "total"]
    assert all(isinstance(value, (np.ndarray, np.floating)) for value in results.values())
    np.testing.assert_allclose(results["logits"], x @ np.arange(6.0).reshape(3, 2), rtol=1e-5)
    np.testing.assert_allclose(results["total"], x.sum(), rtol=1e-5)


def test_compiled_sees_the_weights_of_now(model):
    run = backend.compiled(lambda x: model(x), model)
    x = np.ones((1, 3), "float32")
    np.testing.assert_allclose(run(x), [[6, 9]])
    model.set_weights([np.ones((3, 2))])
    np.testing.assert_allclose(run(x), [[3, 3]])


@pytest.mark.skipif(BACKEND == "tensorflow", reason="strategies are TensorFlow's")
def test_strategies_are_refused(model):
    with pytest.raises(ValueError, match=f"needs Keras on TensorFlow.*'{BACKEND}'"):
        backend.compiled(lambda x: x, model, strategy=object())


@pytest.mark.tensorflow
def test_a_strategy_must_be_one(model):
    with pytest.raises(ValueError, match=r"must be a tf.distribute.Strategy. Received: 'two'"):
        backend.compiled(lambda x: x, model, strategy="two")


@pytest.mark.parametrize(("size", "strides"), [(1, 1), (3, 1), (3, 2), (2, 3)])
def test_patches_are_ordered_by_row_column_channel(size, strides, rng):
    images = rng.normal(size=(2, 7, 5, 3)).astype("float32")
    patches = ops.convert_to_numpy(backend.extract_patches(images, size, strides))
    rows, columns = range(0, 8 - size, strides), range(0, 6 - size, strides)
    expected = [
        [[image[i : i + size, j : j + size].ravel() for j in columns] for i in rows]
        for image in images
    ]
    np.testing.assert_array_equal(patches, expected)


def test_values_are_known_outside_of_compiled_code(model):
    values = np.arange(3, dtype="int32")
    np.testing.assert_array_equal(backend.known_value(ops.convert_to_tensor(values)), values)
    seen = []

    def function(x):
        seen.append(backend.known_value(x))
        return x

    backend.compiled(function, model)(values)
    assert (seen[0] is None) == (BACKEND in ("tensorflow", "jax"))


@pytest.mark.tensorflow
def test_graphs_require(model):
    import tensorflow as tf

    def positive(x):
        backend.require(ops.all(x > 0), "Expected positive numbers. Received:", x)
        return x

    run = backend.compiled(positive, model)
    np.testing.assert_array_equal(run(np.array([1.0, 2.0])), [1, 2])
    with pytest.raises(tf.errors.InvalidArgumentError, match="Expected positive numbers"):
        run(np.array([1.0, -2.0]))


def test_accelerators_are_names():
    assert all(isinstance(name, str) for name in backend.accelerators())


def check_two_replicas():
    """Runs in a process of its own: logical devices are fixed before TensorFlow starts."""
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    with strategy.scope():
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, use_bias=False)])
    model.set_weights([np.arange(6.0).reshape(3, 2)])

    def step(x):
        context = tf.distribute.get_replica_context()
        part = tf.fill(tf.shape(x)[:1], context.replica_id_in_sync_group)
        return {"outputs": model(x), "replica": part, "constant": tf.constant(7.0)}

    run = backend.compiled(step, model, strategy)
    alone = backend.compiled(model, model, strategy)
    for rows, replicas in ((4, [0, 0, 1, 1]), (3, [0, 0, 1]), (1, [0])):
        x = np.random.default_rng(rows).normal(size=(rows, 3)).astype("float32")
        expected = x @ np.arange(6.0).reshape(3, 2)
        results = run(x)
        np.testing.assert_allclose(results["outputs"], expected, rtol=1e-5)
        np.testing.assert_array_equal(results["replica"], replicas)
        assert results["constant"] == 7
        np.testing.assert_allclose(alone(x), expected, rtol=1e-5)


@pytest.mark.process
@pytest.mark.tensorflow
def test_batches_are_split_over_replicas():
    run_in_process(check_two_replicas)
