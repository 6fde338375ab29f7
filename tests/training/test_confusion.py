import keras
import numpy as np
import pytest
from conftest import BACKEND
from keras import ops

from coda_keras import ConfusionAccuracy, OneVsAllAccuracy, OneVsAllCrossentropy

CLASSES = 4


def reference(labels, logits, weights):
    counts = np.zeros((CLASSES, CLASSES))
    for label, row, weight in zip(labels, logits, weights):
        counts[label, row.argmax()] += weight
    return counts


@pytest.mark.parametrize("form", ["integers", "column", "one-hot"])
@pytest.mark.parametrize("weighted", [True, False])
def test_counts_and_accuracy_over_batches(form, weighted, rng):
    metric, plain = ConfusionAccuracy(CLASSES), OneVsAllAccuracy()
    expected = np.zeros((CLASSES, CLASSES))
    for size in (7, 3):
        labels = rng.integers(0, CLASSES, size=size)
        logits = rng.normal(size=(size, CLASSES)).astype("float32")
        weights = rng.uniform(size=size).astype("float32") if weighted else np.ones(size)
        given = {"integers": labels, "column": labels[:, None], "one-hot": np.eye(CLASSES)[labels]}
        for counted in (metric, plain):
            counted.update_state(given[form], logits, weights if weighted else None)
        expected += reference(labels, logits, weights)
    np.testing.assert_allclose(ops.convert_to_numpy(metric.counts), expected, rtol=1e-5)
    assert float(metric.result()) == pytest.approx(np.trace(expected) / expected.sum(), rel=1e-5)
    assert float(metric.result()) == pytest.approx(float(plain.result()), rel=1e-5)
    metric.reset_state()
    assert float(metric.result()) == 0


def test_fit_counts_the_validation_images_last(rng):
    labels = rng.integers(0, CLASSES, size=10)
    inputs = rng.normal(size=(10, 3)).astype("float32")
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(CLASSES)])
    metric = ConfusionAccuracy(CLASSES)
    jit = BACKEND == "jax"
    model.compile("sgd", OneVsAllCrossentropy(), metrics=[metric], jit_compile=jit)
    validation = inputs[:6], labels[:6]
    model.fit(inputs, labels, 4, epochs=1, validation_data=validation, verbose=0)
    logits = np.asarray(model.predict(inputs[:6], verbose=0))
    expected = reference(labels[:6], logits, np.ones(6))
    np.testing.assert_allclose(ops.convert_to_numpy(metric.counts), expected)


def test_is_saved_with_its_model(tmp_path):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(CLASSES)])
    model.compile("sgd", OneVsAllCrossentropy(), metrics=[ConfusionAccuracy(CLASSES)])
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    results = loaded.evaluate(np.zeros((2, 3)), np.zeros(2, int), verbose=0, return_dict=True)
    assert results.keys() == {"loss", "accuracy"}
