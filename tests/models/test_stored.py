"""Files of earlier versions load, compute what they did, and train on as they would have."""

from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

from coda_keras import CoDANet

FOLDER = Path(__file__).resolve().parents[1] / "fixtures/0.2.0/keras"
# Keras 3.15 writes arguments of initialisers that earlier versions do not know.
FIVE = pytest.param("five", marks=pytest.mark.skipif(keras.__version__ < "3.15", reason="Keras"))
# `five` is no CoDA-Net, `four` the layers alone.
NETS = ("one", "two", "three")
NAMES = (*NETS, "four", FIVE)
COMPILED = (*NETS, FIVE)


@pytest.fixture(scope="module")
def expected():
    return dict(np.load(FOLDER / "expected.npz"))


def load(name):
    return keras.models.load_model(FOLDER / f"{name}.keras")


def inputs(name, expected):
    images = expected["images"]
    return np.concatenate([images, 1 - images], axis=-1) if name == "four" else images


def assert_close(computed, stored, tolerance=1e-5):
    computed = ops.convert_to_numpy(computed)
    assert computed.shape == stored.shape
    np.testing.assert_allclose(computed, stored, rtol=0, atol=tolerance * np.abs(stored).max())


@pytest.mark.parametrize("name", NAMES)
def test_logits_are_the_same(name, expected):
    # Of `four` the layer computes in bfloat16.
    tolerance = 1e-2 if name == "four" else 1e-5
    assert_close(load(name)(inputs(name, expected)), expected[f"{name}_logits"], tolerance)


@pytest.mark.parametrize("name", NETS)
def test_explanations_are_the_same(name, expected):
    net = load(name)
    assert type(net) is CoDANet
    explanation = net.explain(expected["images"][:2], "all").numpy()
    for field in ("class_ids", "bias", "contributions", "contribution_map"):
        assert_close(getattr(explanation, field), expected[f"{name}_{field}"])
    assert explanation.completeness_error.max() < 1e-4


@pytest.mark.parametrize("name", COMPILED)
def test_loss_and_metric_are_the_same(name, expected):
    model = load(name)
    scores = model.evaluate(expected["images"], expected["labels"], verbose=0)
    assert_close(np.array(scores), expected[f"{name}_evaluated"])
    iterations = ops.convert_to_numpy(model.optimizer.iterations)
    assert iterations == expected[f"{name}_iterations"] > 0


@pytest.mark.tensorflow
@pytest.mark.parametrize("name", COMPILED)
def test_training_goes_on_as_it_would_have(name, expected):
    model = load(name)
    images, labels = expected["images"], expected["labels"]
    steps = []
    for _ in range(2):
        # Keras 3.12 averages over calls.
        model.reset_metrics()
        steps.append(model.train_on_batch(images, labels))
    assert_close(np.array(steps), expected[f"{name}_trained"], 1e-4)
    assert_close(model(images), expected[f"{name}_trained_logits"], 1e-4)
    assert_close(model.optimizer.learning_rate, expected[f"{name}_rate"])
