"""Runs on one device without TensorFlow's own, on whatever backend the tests are."""

import json
import os
import signal

import keras
import numpy as np
import pytest
from conftest import BACKEND

from coda_keras import CoDANet, DAUConv2D, OneVsAllCrossentropy, training
from coda_keras.data.batches import TrainBatches
from coda_keras.data.images import ImageData, save_npz
from coda_keras.data.loading import load
from coda_keras.data.numpy_augmentation import flip_and_crop
from coda_keras.data.numpy_batches import train_batches
from coda_keras.training.devices import Devices

VALUES = {"epochs": 2, "batch_size": 4, "learning_rate": 0.1, "schedule": "steps", "halve_every": 3}
CLASSES = ["dark", "bright"]


@pytest.fixture
def data(rng):
    labels = np.arange(8, dtype="int32") % 2
    images = rng.uniform(0, 100, (8, 6, 6, 3)) + 150 * labels[:, None, None, None]
    images = images.astype("uint8")
    return ImageData(images, labels, images[:5], labels[:5], CLASSES)


def small_net(settings, data):
    layers = [DAUConv2D(3, 2, 3), DAUConv2D(2, 2, 1)]
    return CoDANet(layers, temperature=1.0, image_size=6, class_names=CLASSES)


def run(folder, data, *flags, augment=None, build=small_net, kind=Devices, callbacks=()):
    more = {"start_temperature": None, "rise": 0.5, "randaugment": False, "grow": False}
    settings = training.SettingsParser("", **VALUES, **more, output=folder).settings(flags)
    augment = [flip_and_crop(1)] if augment is None else augment
    devices = training.start(settings, kind)
    return settings, *training.train(settings, devices, build, data, augment, callbacks)


def test_a_run_leaves_a_net_its_numbers_and_pictures(data, tmp_path, capsys):
    settings, net, history = run(tmp_path, data)
    training.conclude(settings, net, data, history)
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
    monkeypatch.setattr("coda_keras.data.numpy_batches.AHEAD", 0)
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


def test_a_log_file_has_lines_within_epochs(data, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr("coda_keras.utils.progress.LINE_SECONDS", 0.0)
    run(tmp_path, data)
    shown = capfd.readouterr().err
    lines = [line for line in shown.splitlines() if line.startswith("training: ")]
    assert lines[0].startswith("training: 1/4 (25%), ") and lines[0].endswith(" left")
    assert lines[-1].startswith("training: 4 in ") and "\r" not in shown


def test_what_callbacks_still_write_is_waited_for(data, tmp_path, capsys):
    class Board(keras.callbacks.Callback):
        closed = 0

        def on_epoch_end(self, epoch, logs=None):
            raise KeyboardInterrupt

        def close(self):
            self.closed += 1
            raise OSError("No space is left.")

    board = Board()
    with pytest.raises(training.Stopped):
        run(tmp_path, data, callbacks=[board])
    assert board.closed == 1
    assert "Board: No space is left." in capsys.readouterr().err


def logits_of(net, images):
    return keras.ops.convert_to_numpy(net(images))


def test_the_loss_sees_the_temperature_of_every_step(data, tmp_path):
    """A net that hardly learns has the losses of its first weights, each with its step's factor."""
    flags = ["--start-temperature", "0.25", "--learning-rate", "1e-20", "--epochs", "3"]
    _, net, history = run(tmp_path / "run", data, *flags, augment=[])
    bias = net.logit_bias
    # T(n) = 1/4, 1/2.52, 1/1.59, 1, 1, 1: half of six steps.
    factors = [4.0, 4 ** (2 / 3), 4 ** (1 / 3), 1.0, 1.0, 1.0]
    losses = [
        float(OneVsAllCrossentropy()(labels, bias + factor * (logits_of(net, images) - bias)))
        for factor, (images, labels) in zip(
            factors, train_batches(TrainBatches(data.train_images, data.train_labels, 4, 3))
        )
    ]
    seen = [epoch["loss"] for epoch in history]
    np.testing.assert_allclose(seen, np.reshape(losses, (3, 2)).mean(axis=1), rtol=1e-5)
    assert seen[0] != pytest.approx(seen[2], rel=1e-2)


@pytest.mark.parametrize("flags", [["--start-temperature", "0.25"], ["--grow"]])
def test_the_validation_loss_is_that_of_the_net_as_it_is(flags, data, tmp_path):
    """A net that hardly learns: whatever training steps see, whole images and T are tested on."""
    flags = [*flags, "--learning-rate", "1e-20", "--epochs", "3"]
    _, net, history = run(tmp_path / "run", data, *flags, augment=[], kind=None)
    logits = logits_of(net, data.test_images.astype("float32") / 255)
    expected = float(OneVsAllCrossentropy()(data.test_labels, logits))
    np.testing.assert_allclose([epoch["val_loss"] for epoch in history], expected, rtol=1e-5)
    assert history[0]["loss"] != pytest.approx(history[2]["loss"], rel=1e-2)


@pytest.mark.skipif(BACKEND == "tensorflow", reason="which has batches of its own for that")
def test_images_grow(data, tmp_path):
    seen = []

    def build(settings, data):
        class Noting(DAUConv2D):
            def call(self, inputs):
                seen.append(tuple(inputs.shape[1:3]))
                return super().call(inputs)

        layers = [Noting(3, 2, 3), DAUConv2D(2, 2, 1)]
        return CoDANet(layers, temperature=1.0, image_size=6, class_names=CLASSES)

    _, _, history = run(tmp_path / "run", data, "--grow", "--epochs", "3", build=build)
    assert len(history) == 3 and np.isfinite([epoch["loss"] for epoch in history]).all()
    assert set(seen) == {(6, 6), (3, 3)}


@pytest.mark.parametrize("flags", [["--randaugment"], ["--accumulate", "2"], ["--replicas", "2"]])
def test_what_needs_tensorflow_is_refused_before_anything_is_written(flags, data, tmp_path):
    with pytest.raises(ValueError, match=f"{flags[0]} needs Keras on TensorFlow"):
        run(tmp_path / "run", data, *flags)
    assert list(tmp_path.iterdir()) == []


def test_data_is_loaded_from_where_it_lies(data, tmp_path, monkeypatch):
    save_npz(data, tmp_path / "own.npz")
    loaded = load("cifar10", tmp_path / "own.npz")
    np.testing.assert_array_equal(loaded.train_images, data.train_images)
    if BACKEND == "tensorflow":
        monkeypatch.setattr("coda_keras.data.tf_batches.load_tfds", lambda *place: place)
        assert load("cifar10", tmp_path) == ("cifar10", tmp_path)
        assert load("cifar10") == ("cifar10", None)
    (tmp_path / "test_batch.bin").write_bytes(b"")
    with pytest.raises(FileNotFoundError, match=r"data_batch_1.bin is missing"):
        load("cifar10", tmp_path)
    monkeypatch.setattr("coda_keras.backend.NAME", "jax")
    with pytest.raises(ValueError, match="cifar-10-batches-bin"):
        load("cifar10")
