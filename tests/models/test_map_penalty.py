"""The regularised linear map: its value, its gradients, what it draws, how it trains."""

import keras
import numpy as np
import oracle
import pytest
from conftest import BACKEND, EXACT_DTYPE, as_oracle, gradients, loss_of
from keras import ops
from processes import run_in_process

from coda_keras import CoDANet, DAUConv2D, OneVsAllCrossentropy
from coda_keras.training.annealing import AnnealedCrossentropy

STRENGTH, TEMPERATURE, BIAS = 0.7, 3.0, -1.0


def make_net(classes=2, rescale="squash", dtype=EXACT_DTYPE, strides=2, **options):
    keras.utils.set_random_seed(1)
    layers = [
        DAUConv2D(3, 2, 3, strides=strides, rescale=rescale, dtype=dtype),
        DAUConv2D(classes, 2, 1, rescale=rescale, dtype=dtype),
    ]
    options = {"regularisation": STRENGTH, "logit_bias": BIAS, **options}
    return CoDANet(layers, TEMPERATURE, image_size=(4, 5), dtype=dtype, **options)


def reference(layers, images, labels):
    """Cross-entropy and eq. 10's penalty in float64; with two classes no draw is left open."""
    losses, rows = [], []
    for image, label in zip(images, labels):
        encoded = oracle.encode(image)
        logits = oracle.logits(encoded, layers, TEMPERATURE, BIAS)
        losses.append(np.logaddexp(0, logits) - np.eye(2)[label] * logits)
        rows.append(oracle.weights_of_logits(encoded, layers, TEMPERATURE))
    return np.mean(losses) + STRENGTH * np.mean(np.abs(rows))


@pytest.mark.parametrize("rescale", ["squash", "l2"])
def test_loss_and_gradients_equal_finite_differences_of_numpy(rescale, rng):
    net = make_net(rescale=rescale)
    images = rng.uniform(0.1, 0.9, size=(2, 4, 5, 3)).astype(EXACT_DTYPE)
    labels = np.array([1, 0])
    value, derivatives = gradients(loss_of(net, labels), net.trainable_variables, images)
    layers = [as_oracle(layer) for layer in net.body]
    exact = EXACT_DTYPE == "float64"
    tolerance = {"rel": 1e-10 if exact else 1e-4}
    assert value == pytest.approx(reference(layers, images, labels), **tolerance)
    for index, gradient in enumerate(derivatives[:-1]):
        direction = rng.normal(size=gradient.shape)
        directions = [0.0] * index + [direction]
        expected = oracle.slope(lambda moved: reference(moved, images, labels), layers, directions)
        tolerance = {"rel": 1e-6, "abs": 1e-9} if exact else {"rel": 2e-3, "abs": 1e-5}
        assert np.sum(gradient * direction) == pytest.approx(expected, **tolerance)


def materialised(net, encoded, cotangent):
    """`W^T cotangent` from every w(x) in memory; layers of strides 1."""
    inputs = [encoded, net.body[0](encoded)]
    for layer, values in reversed(list(zip(net.body, inputs))):
        weights = layer.dynamic_weights(values)
        columns = ops.einsum("bhwf,bhwfijc->bhwijc", cotangent, weights)
        size, (height, width) = layer.kernel_size, values.shape[1:3]
        cotangent = sum(
            ops.pad(
                columns[:, :, :, row, column],
                ((0, 0), (row, size - 1 - row), (column, size - 1 - column), (0, 0)),
            )
            for row, column in np.ndindex(size, size)
        )
        pad = (size - 1) // 2
        cotangent = cotangent[:, pad : pad + height, pad : pad + width]
    return cotangent / net.temperature


@pytest.mark.parametrize("implementation", ["factored", "patches"])
def test_gradients_equal_autodiff_through_materialised_weights(implementation, rng):
    net = make_net(strides=1)
    for layer in net.body:
        layer.implementation = implementation
    images = rng.uniform(size=(2, 4, 5, 6)).astype(EXACT_DTYPE)
    labels = np.array([1, 0])

    def expected(images):
        units = np.broadcast_to(np.eye(2, dtype=EXACT_DTYPE)[:, None, None, None], (2, 2, 4, 5, 2))
        rows = [materialised(net, images, ops.convert_to_tensor(unit)) for unit in units]
        entropy = OneVsAllCrossentropy(dtype=EXACT_DTYPE)(labels, net(images))
        return entropy + STRENGTH * ops.mean(ops.abs(ops.stack(rows)))

    variables = net.trainable_variables
    value, derivatives = gradients(loss_of(net, labels), variables, images)
    other_value, others = gradients(expected, variables, images)
    exact = {"rtol": 1e-9, "atol": 1e-11} if EXACT_DTYPE == "float64" else {"rtol": 1e-3}
    assert value == pytest.approx(other_value, rel=1e-5)
    for gradient, other in zip(derivatives, others):
        np.testing.assert_allclose(gradient, other, **{"atol": 1e-5, **exact})


def test_the_other_class_is_drawn_anew_and_never_the_true_one(rng, monkeypatch):
    net = make_net(classes=4, dtype="float32")
    images = np.repeat(rng.uniform(size=(1, 4, 5, 3)), 40, axis=0).astype("float32")
    labels = np.full(40, 2)
    chosen = []
    from coda_keras.models import map_penalty as regularisation

    honest = regularisation.mean_weights

    def spy(pullback, class_ids, logits):
        chosen.append([ops.convert_to_numpy(ids) for ids in class_ids])
        return honest(pullback, class_ids, logits)

    monkeypatch.setattr(regularisation, "mean_weights", spy)
    loss = loss_of(net, labels)
    for _ in range(2):
        loss(images)
    (true, first), (_, second) = chosen
    assert set(true) == {2} and set(first) == {0, 1, 3}
    assert np.any(first != second)


def test_only_training_is_regularised(rng):
    images = rng.uniform(size=(3, 4, 5, 3)).astype("float32")
    labels = np.array([0, 1, 1])
    net, plain = make_net(dtype="float32"), make_net(dtype="float32", regularisation=0.0)
    plain.set_weights(net.get_weights())
    assert plain.penalty is None
    for model in (net, plain):
        model.compile(loss=OneVsAllCrossentropy())
    losses = [model.evaluate(images, labels, verbose=0) for model in (net, plain)]
    assert losses[0] == pytest.approx(losses[1])
    total = net.compute_loss(images, labels, net(images, training=True), training=True)
    total, expected = map(ops.convert_to_numpy, (total, loss_of(net, labels)(images)))
    assert total == pytest.approx(expected) and total > losses[0]
    np.testing.assert_array_equal(
        ops.convert_to_numpy(net(images, training=True)), ops.convert_to_numpy(net(images))
    )


def trained(net, images, labels, epochs, jit_compile=False):
    if not net.compiled:
        optimizer = keras.optimizers.Adam(0.01)
        loss = AnnealedCrossentropy(TEMPERATURE, 1.0, 3, BIAS, iterations=optimizer.iterations)
        loss = OneVsAllCrossentropy() if BACKEND == "jax" else loss
        net.compile(optimizer, loss, jit_compile=jit_compile)
    net.fit(images, labels, batch_size=4, epochs=epochs, shuffle=False, verbose=0)
    return net.get_weights()


def test_a_training_that_goes_on_draws_what_an_uninterrupted_one_draws(rng, tmp_path):
    images = rng.uniform(size=(8, 4, 5, 3)).astype("float32")
    labels = np.arange(8) % 4
    net = make_net(classes=4, dtype="float32", regularisation=50.0)
    trained(net, images, labels, epochs=1)
    net.save(tmp_path / "net.keras")
    again = keras.models.load_model(tmp_path / "net.keras")
    assert again.get_config()["regularisation"] == 50.0
    # A loss that counts steps needs the counter of the optimiser that it trains with.
    for model in (net, again):
        model.compile(model.optimizer, OneVsAllCrossentropy(), jit_compile=False)
    for whole, resumed in zip(*(trained(model, images, labels, 2) for model in (net, again))):
        np.testing.assert_allclose(resumed, whole, atol=1e-6)


@pytest.mark.tensorflow
def test_it_trains_alike_compiled_by_xla_and_in_a_graph(rng):
    images = rng.uniform(size=(8, 4, 5, 3)).astype("float32")
    labels = np.arange(8) % 4
    results = []
    for compiled in (False, True):
        net = make_net(classes=4, dtype="float32", regularisation=5.0)
        results.append(trained(net, images, labels, 1, jit_compile=compiled))
    for graph, xla in zip(*results):
        np.testing.assert_allclose(xla, graph, atol=1e-4)


def check_two_replicas():
    """Runs in a process of its own: logical devices are fixed before TensorFlow starts."""
    import tensorflow as tf

    (cpu,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    random = np.random.default_rng(0)
    images, labels = random.uniform(size=(8, 4, 5, 3)).astype("float32"), np.arange(8) % 2
    results = []
    mirrored = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    for strategy in (tf.distribute.get_strategy(), mirrored):
        with strategy.scope():
            net = make_net(dtype="float32", regularisation=5.0)
            results.append(trained(net, images, labels, epochs=2))
        assert ops.convert_to_numpy(net.penalty.draws.state)[1] == 4
    for one, two in zip(*results):
        np.testing.assert_allclose(two, one, atol=1e-5)


@pytest.mark.process
@pytest.mark.tensorflow
def test_replicas_train_as_one_device_does():
    run_in_process(check_two_replicas)


@pytest.mark.parametrize("strength", [-0.1, float("nan"), float("inf")])
def test_strengths_out_of_range(strength):
    with pytest.raises(ValueError, match="`regularisation` must be a positive number, or 0"):
        make_net(regularisation=strength)


def test_what_cannot_be_regularised_is_told():
    images = np.zeros((1, 4, 5, 3), "float32")
    with pytest.raises(ValueError, match="at least two classes"):
        loss_of(make_net(classes=1, dtype="float32"), np.array([[1.0]]))(images)
    net = make_net(dtype="float32")
    net.compile(loss=OneVsAllCrossentropy())
    with pytest.raises(ValueError, match="Call the net with `training=True` first"):
        net.compute_loss(images, np.array([1]), net(images), training=True)
