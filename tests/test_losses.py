import keras
import numpy as np
import pytest
from conftest import BACKEND, gradients
from keras import ops

from coda_keras import OneVsAllAccuracy, OneVsAllCrossentropy


def _reference(targets, logits):
    """-mean over classes of `t log s + (1 - t) log(1 - s)`, in float64 and without overflow."""
    logits = np.asarray(logits, "float64")
    log_one = -np.logaddexp(0, -logits)
    log_other = -np.logaddexp(0, logits)
    return -np.mean(targets * log_one + (1 - targets) * log_other, axis=-1)


def _forms(labels, classes):
    one_hot = np.eye(classes)[labels]
    return {
        "integers": labels,
        "uint8": labels.astype("uint8"),
        "floats": labels.astype("float32"),
        "column": labels[:, None],
        "one-hot": one_hot.astype("float32"),
        "integer one-hot": one_hot.astype("int32"),
    }


@pytest.mark.parametrize("form", list(_forms(np.zeros(1, int), 2)))
@pytest.mark.parametrize("size", [1.0, 1e4])
def test_loss_equals_numpy(form, size, rng):
    classes = 7
    labels = rng.integers(0, classes, size=6)
    logits = (size * rng.normal(size=(6, classes))).astype("float32")
    expected = _reference(np.eye(classes)[labels], logits)
    loss = OneVsAllCrossentropy(reduction="none")(_forms(labels, classes)[form], logits)
    np.testing.assert_allclose(ops.convert_to_numpy(loss), expected, rtol=1e-5, atol=1e-6)
    mean = OneVsAllCrossentropy()(_forms(labels, classes)[form], logits)
    assert float(mean) == pytest.approx(expected.mean(), rel=1e-5)


def test_soft_labels(rng):
    targets = rng.uniform(size=(4, 3)).astype("float32")
    logits = rng.normal(size=(4, 3)).astype("float32")
    loss = OneVsAllCrossentropy(reduction="none")(targets, logits)
    np.testing.assert_allclose(
        ops.convert_to_numpy(loss), _reference(targets, logits), rtol=1e-5, atol=1e-6
    )


def test_sample_weights(rng):
    labels, logits = np.array([0, 2, 1]), rng.normal(size=(3, 3)).astype("float32")
    weights = np.array([0.0, 2.0, 1.0], "float32")
    loss = OneVsAllCrossentropy(reduction="sum")(labels, logits, sample_weight=weights)
    expected = np.sum(weights * _reference(np.eye(3)[labels], logits))
    assert float(loss) == pytest.approx(expected, rel=1e-5)


def test_gradient_is_sigmoid_minus_target(rng):
    labels = np.array([1, 3, 0])
    logits = np.concatenate([rng.normal(size=(1, 4)), [[1e4, -1e4, 80, -80]], np.zeros((1, 4))])
    logits = logits.astype("float32")
    _, (gradient,) = gradients(lambda x: OneVsAllCrossentropy()(labels, x), [], logits)
    sigmoid = np.exp(-np.logaddexp(0, -logits.astype("float64")))
    np.testing.assert_allclose(gradient, (sigmoid - np.eye(4)[labels]) / 12, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("shape", [(4, 2), (4, 3, 1), ()])
def test_labels_of_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match=r"integer labels \(batch,\) or one-hot.*\(batch, 3\)"):
        OneVsAllCrossentropy()(np.zeros(shape, "int32"), np.zeros((4, 3), "float32"))


@pytest.mark.parametrize("form", list(_forms(np.zeros(1, int), 2)))
def test_accuracy_over_batches_of_different_size(form, rng):
    metric = OneVsAllAccuracy()
    hits = []
    for size in (5, 1):
        labels = rng.integers(0, 3, size=size)
        logits = rng.normal(size=(size, 3)).astype("float32")
        metric.update_state(_forms(labels, 3)[form], logits)
        hits.extend(logits.argmax(axis=-1) == labels)
    assert float(metric.result()) == pytest.approx(np.mean(hits))
    metric.reset_state()
    assert float(metric.result()) == 0


def test_names_on_the_progress_bar():
    assert OneVsAllCrossentropy().name == "one_vs_all_crossentropy"
    assert OneVsAllAccuracy().name == "accuracy"


@pytest.mark.parametrize("form", ["integers", "column", "one-hot"])
def test_fit_and_evaluate_take_every_form_of_labels(form, rng):
    labels = rng.integers(0, 3, size=10)
    inputs = np.eye(3)[labels].astype("float32")
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3, kernel_initializer="zeros")])
    model.compile(
        keras.optimizers.SGD(5.0),
        OneVsAllCrossentropy(),
        metrics=[OneVsAllAccuracy()],
        jit_compile=BACKEND == "jax",
    )
    targets = _forms(labels, 3)[form]
    model.fit(inputs, targets, batch_size=4, epochs=5, verbose=0)
    results = model.evaluate(inputs, targets, batch_size=4, verbose=0, return_dict=True)
    assert results["accuracy"] == 1
    logits = np.asarray(model.predict(inputs, verbose=0))
    expected = _reference(np.eye(3)[labels], logits).mean()
    assert results["loss"] == pytest.approx(expected, rel=1e-4)
