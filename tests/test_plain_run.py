"""Runs without TensorFlow, on whatever backend the tests are."""

import json
import os
import signal

import keras
import numpy as np
import pytest
from conftest import BACKEND

from coda_keras import CoDANet, DAUConv2D, training
from coda_keras.array_batches import flip_and_crop
from coda_keras.data import ImageData, save_npz
from coda_keras.training import plain

VALUES = {"epochs": 2, "batch_size": 4, "learning_rate": 0.1, "schedule": "steps", "halve_every": 3}
CLASSES = ["dark", "bright"]


@pytest.fixture
def data(rng):
    labels = np.arange(8, dtype="int32") % 2
    images = rng.uniform(0, 100, (8, 6, 6, 3)) + 150 * labels[:, None, None, None]
    images = images.astype("uint8")
    return ImageData(images, labels, images[:5], labels[:5], CLASSES)


def run(folder, data, *flags, augment=None):
    more = {"start_temperature": None, "randaugment": False, "grow": False}
    args = training.parser("", **VALUES, **more, output=folder).parse_args(flags)

    def build():
        layers = [DAUConv2D(3, 2, 3), DAUConv2D(2, 2, 1)]
        return CoDANet(layers, temperature=1.0, image_size=6, class_names=CLASSES)

    augment = [flip_and_crop(1)] if augment is None else augment
    return args, *plain.train(args, plain.start(args), build, data, augment)


def test_a_run_leaves_a_net_its_numbers_and_pictures(data, tmp_path, capsys):
    args, net, history = run(tmp_path, data)
    training.conclude(args, net, data, history)
    loaded = keras.models.load_model(tmp_path / "model.keras")
    images = data.test_images.astype("float32") / 255
    logits = net.predict(images, verbose=0)
    np.testing.assert_allclose(loaded.predict(images, verbose=0), logits, rtol=1e-5, atol=1e-5)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["test_accuracy"] == np.mean(logits.argmax(axis=1) == data.test_labels)
    assert metrics["history"][1]["val_accuracy"] == pytest.approx(metrics["test_accuracy"])
    assert metrics["versions"][BACKEND]
    assert (tmp_path / "gallery.png").is_file() and (tmp_path / "explorer.html").is_file()
    assert not list(tmp_path.glob("servables"))
    assert f"runs on {BACKEND}: no TensorBoard and no servable" in capsys.readouterr().out


def test_an_interrupted_run_goes_on_to_the_same_weights(data, tmp_path, monkeypatch):
    monkeypatch.setattr("coda_keras.array_batches.AHEAD", 0)
    _, whole, _ = run(tmp_path / "whole", data)

    def stopping(image, random):
        if stop:
            os.kill(os.getpid(), stop.pop())
        return flip_and_crop(1)(image, random)

    stop = [signal.SIGTERM]
    with pytest.raises(training.Stopped, match="the same command goes on"):
        run(tmp_path / "run", data, augment=[stopping])
    assert list((tmp_path / "run").glob("checkpoint-*.npz"))
    # Augmentation draws the same numbers, whatever function it is.
    _, resumed, history = run(tmp_path / "run", data)
    assert len(history) == 2
    for one, other in zip(resumed.get_weights(), whole.get_weights()):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("flags", [["--randaugment"], ["--grow"], ["--start-temperature", "10"]])
def test_what_needs_tensorflow_is_refused_before_anything_is_written(flags, data, tmp_path):
    with pytest.raises(ValueError, match=f"{flags[0]} needs Keras on TensorFlow"):
        run(tmp_path / "run", data, *flags)
    assert list(tmp_path.iterdir()) == []


def test_data_is_loaded_from_where_it_lies(data, tmp_path, monkeypatch):
    save_npz(data, tmp_path / "own.npz")
    found = training.load("cifar10", tmp_path / "own.npz")
    np.testing.assert_array_equal(found.train_images, data.train_images)
    monkeypatch.setattr("coda_keras.training.pipeline.load_prepared", lambda *place: place)
    assert training.load("cifar10", tmp_path) == ("cifar10", tmp_path)
    assert training.load("cifar10") == ("cifar10", None)
    (tmp_path / "test_batch.bin").write_bytes(b"")
    with pytest.raises(FileNotFoundError, match=r"data_batch_1.bin is missing"):
        training.load("cifar10", tmp_path)
    with pytest.raises(ValueError, match="cifar-10-batches-bin"):
        plain.load_prepared("cifar10")
