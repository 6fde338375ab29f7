"""Trainings that are stopped, killed or broken, and what they go on from."""

import dataclasses
import errno
import json
import signal

import keras
import numpy as np
import pytest
import tensorflow as tf

from coda_keras import CoDANet, DAUConv2D, training
from coda_keras.data.augmentation import flip_and_crop
from coda_keras.data.images import ImageData
from coda_keras.training import checkpoints
from coda_keras.training import tf_workers as workers
from coda_keras.training.interruption import signals
from coda_keras.training.intervals import interval

pytestmark = [pytest.mark.tensorflow, pytest.mark.process]

VALUES = {
    **{"epochs": 2, "batch_size": 4, "learning_rate": 0.01, "schedule": "steps", "halve_every": 3},
    **{"optimizer": "adam", "start_temperature": None, "rise": 0.5, "grow": False},
}
STEPS = 3


@pytest.fixture
def data(rng):
    labels = np.arange(13, dtype="int32") % 2
    images = rng.uniform(0, 100, (13, 6, 6, 3)) + 150 * labels[:, None, None, None]
    images = images.astype("uint8")
    return ImageData(images, labels, images[:5], labels[:5], ["dark", "bright"])


def settings(folder, *flags):
    parser = training.SettingsParser("", **VALUES, output=folder)
    return parser.settings([str(flag) for flag in flags])


def coda_net(settings, data):
    layers = [DAUConv2D(3, 2, 3), DAUConv2D(2, 2, 1)]
    return CoDANet(layers, temperature=1.0, image_size=6, regularisation=0.1)


def build(settings=None, data=None):
    """What is the quickest to trace."""
    layers = [keras.Input((6, 6, 3)), keras.layers.Flatten(), keras.layers.Dense(2)]
    return keras.Sequential(layers)


def train(settings, data, build=build, augment=()):
    return training.train(settings, training.start(settings), build, data, augment)


def at(step, action, monkeypatch):
    """Has `action` called before a step, counted over all epochs from 0."""

    class Acting(training.Checkpointing):
        def on_train_batch_begin(self, batch, logs=None):
            if STEPS * self.progress.epoch + self._first + batch == step:
                action(self)
            super().on_train_batch_begin(batch, logs)

    monkeypatch.setattr("coda_keras.training.loop.Checkpointing", Acting)


def without_seconds(history):
    return [{k: v for k, v in entry.items() if k != "seconds"} for entry in history]


def names(folder):
    return sorted(path.name for path in folder.glob("checkpoint*"))


# Checkpoints.


def compiled():
    net = build()
    net.optimizer = keras.optimizers.Adam(0.01)
    net.optimizer.build(net.trainable_variables)
    return net


def state(net):
    return [keras.ops.convert_to_numpy(v) for v in [*net.variables, *net.optimizer.variables]]


def test_a_checkpoint_brings_back_net_optimiser_metrics_and_progress(tmp_path, rng):
    net, other = compiled(), compiled()
    gradients = [rng.normal(size=v.shape).astype("float32") for v in net.trainable_variables]
    net.optimizer.apply(gradients)
    metric = keras.metrics.Mean()
    metric.update_state([1.0, 2.5])
    progress = training.Progress(1, 2, 3.5, [{"loss": 0.1}], checkpoints.read_metrics([metric]))
    training.save(tmp_path, net, progress)
    restored_progress = training.restore(tmp_path, other)
    for ours, theirs in zip(state(other), state(net), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert dataclasses.replace(restored_progress, metrics=[]) == dataclasses.replace(
        progress, metrics=[]
    )
    restored = keras.metrics.Mean()
    checkpoints.set_metrics([restored], restored_progress.metrics)
    assert float(restored.result()) == 1.75


def test_the_last_two_checkpoints_are_kept(tmp_path):
    net = compiled()
    # Of a process that was killed while it wrote.
    (tmp_path / ".checkpoint-0000-0000009.abc.npz").touch()
    assert training.restore(tmp_path, net) == training.Progress()
    for epoch, step in ((0, 9), (0, 10), (1, 0), (1, 7)):
        training.save(tmp_path, net, training.Progress(epoch, step))
    assert names(tmp_path) == ["checkpoint-0001-0000000.npz", "checkpoint-0001-0000007.npz"]
    assert len(list(tmp_path.iterdir())) == 2
    assert training.restore(tmp_path, net).step == 7


def test_a_damaged_checkpoint_is_noticed_and_the_one_before_is_used(tmp_path, capsys):
    net = compiled()
    first, second = (training.save(tmp_path, net, training.Progress(0, step)) for step in (1, 2))
    whole = second.read_bytes()
    middle = len(whole) // 2
    for damaged in (whole[:-1], whole[:middle], b"", whole[:middle] + b"?!" + whole[middle + 2 :]):
        second.write_bytes(damaged)
        assert training.restore(tmp_path, net).step == 1
        assert f"{second} is damaged" in capsys.readouterr().err
    first.write_bytes(b"no archive")
    assert training.restore(tmp_path, net) == training.Progress()
    # What is written next is what counts.
    training.save(tmp_path, net, training.Progress(0, 1))
    assert training.restore(tmp_path, net).step == 1
    assert names(tmp_path) == [first.name]


def test_a_checkpoint_of_another_net_is_refused(tmp_path):
    training.save(tmp_path, compiled(), training.Progress(0, 1))
    other = CoDANet([DAUConv2D(2, 2, 1)], temperature=1.0, image_size=6)
    other.optimizer = keras.optimizers.Adam(0.01)
    other.optimizer.build(other.trainable_variables)
    with pytest.raises(ValueError, match=r"of another net or optimizer\. Repeat"):
        training.restore(tmp_path, other)


# Interruptions.


@pytest.fixture(scope="module")
def uninterrupted():
    """What one test leaves to the next."""
    return {}


@pytest.mark.parametrize("step", [2, 3])
def test_a_stopped_run_goes_on_to_the_same_weights_and_history(
    step, tmp_path, data, monkeypatch, uninterrupted
):
    flags = ["--optimizer", "muon", "--start-temperature", 0.5, "--grow", "--epochs", 3]
    flags += ["--schedule", "cosine"]

    def run(folder):
        return train(settings(tmp_path / folder, *flags), data, coda_net, [flip_and_crop(1)])

    if not uninterrupted:
        uninterrupted.update(zip(("net", "history"), run("whole")))
    net, history = uninterrupted["net"], uninterrupted["history"]
    with monkeypatch.context() as patch:
        at(step, lambda checkpointing: signal.raise_signal(signal.SIGTERM), patch)
        with pytest.raises(training.Stopped) as end:
            run("cut")
    assert end.value.exit_code == 143
    # Before the first step of an epoch there is nothing new to save.
    epoch, rest = divmod(max(step, step + (step % STEPS == 0)), STEPS)
    steps = f" and {rest} steps of the next" if rest else ""
    assert str(end.value) == f"Interrupted; the same command goes on after epoch {epoch}{steps}."
    resumed, resumed_history = run("cut")
    for ours, theirs in zip(resumed.get_weights(), net.get_weights()):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)
    for ours, theirs in zip(without_seconds(resumed_history), without_seconds(history)):
        assert ours == pytest.approx(theirs, abs=1e-5)
    assert json.loads((tmp_path / "cut/history.json").read_text()) == resumed_history


def test_a_killed_run_goes_on_from_its_last_checkpoint(tmp_path, data, monkeypatch):
    class Killed(BaseException):
        pass

    def kill(checkpointing):
        raise Killed

    net, _ = train(settings(tmp_path / "whole"), data)
    with monkeypatch.context() as patch:
        at(4, kill, patch)
        with pytest.raises(Killed):
            train(settings(tmp_path / "cut", "--checkpoint-every", 2), data)
    assert names(tmp_path / "cut")[-1] == "checkpoint-0001-0000000.npz"
    resumed, _ = train(settings(tmp_path / "cut", "--checkpoint-every", 1), data)
    for ours, theirs in zip(resumed.get_weights(), net.get_weights()):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_a_second_ctrl_c_stops_at_once_and_says_what_is_saved(tmp_path, data, monkeypatch):
    def twice(checkpointing):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    for step, said in ((1, "before the first checkpoint"), (4, "goes on after epoch 1.")):
        with monkeypatch.context() as patch:
            at(step, twice, patch)
            with pytest.raises(KeyboardInterrupt, match=said) as end:
                train(settings(tmp_path), data)
        assert end.value.exit_code == 130


def test_outside_of_a_training_signals_are_as_before():
    before = signal.getsignal(signal.SIGTERM)
    with signals(signal.SIGTERM) as received:
        signal.raise_signal(signal.SIGTERM)
        assert received == [signal.SIGTERM]
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("text", ["0", "-3", "2.5", "5minutes", "min", "nan", "-2h", ""])
def test_intervals_are_steps_or_times(text):
    assert interval("90s") == (None, 90.0)
    assert interval("1.5h") == (None, 5400.0)
    with pytest.raises(ValueError, match="neither a number of steps nor a time"):
        interval(text)


def test_every_so_often_there_is_a_checkpoint(tmp_path, data):
    seen = []

    class Noting(training.Checkpointing):
        def on_train_batch_begin(self, batch, logs=None):
            super().on_train_batch_begin(batch, logs)
            seen.append(self.saved)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("coda_keras.training.loop.Checkpointing", Noting)
        train(settings(tmp_path, "--checkpoint-every", "1e-9s", "--keep-checkpoints"), data)
    assert seen == [None, (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]
    assert names(tmp_path) == [
        "checkpoint-0001-0000002.npz",
        "checkpoint-0002-0000000.npz",
        "checkpoints",
    ]
    kept = sorted((tmp_path / "checkpoints").iterdir())
    assert [path.name for path in kept] == ["001.keras", "002.keras"]
    last, model = (keras.models.load_model(path) for path in (kept[1], tmp_path / "model.keras"))
    for ours, theirs in zip(last.get_weights(), model.get_weights()):
        np.testing.assert_array_equal(ours, theirs)


# What goes wrong.


@pytest.mark.parametrize("step", [4, 5])
def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_good_weights(
    step, tmp_path, data, monkeypatch
):
    def spoil(checkpointing):
        checkpointing.model.layers[-1].bias.assign([np.nan, 0.0])

    at(step, spoil, monkeypatch)
    said = rf"loss is not finite after step {step - 2} of epoch 2\. Try a lower --learning-rate"
    with pytest.raises(FloatingPointError, match=said) as error:
        train(settings(tmp_path, "--precision", "float32"), data)
    path = tmp_path / "last-good.keras"
    assert f"{path} has the weights after epoch 1 and 0 steps" in str(error.value)
    kept = keras.models.load_model(path)
    assert all(np.isfinite(weight).all() for weight in kept.get_weights())
    assert names(tmp_path) == ["checkpoint-0001-0000000.npz"]


def test_weights_that_are_not_finite_are_never_saved(tmp_path, data, monkeypatch):
    def spoil(checkpointing):
        checkpointing.received.append(signal.SIGTERM)
        checkpointing.model.layers[-1].bias.assign([np.inf, 0.0])

    at(5, spoil, monkeypatch)
    with pytest.raises(FloatingPointError, match="A weight is not finite after step 2 of epoch 2"):
        train(settings(tmp_path), data)
    assert names(tmp_path) == ["checkpoint-0001-0000000.npz"]


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EDQUOT, "Quota"),
        tf.errors.ResourceExhaustedError(None, None, "events.v2; No space left on device"),
    ],
)
def test_a_full_disk_leaves_the_last_checkpoint(error, tmp_path, data, monkeypatch):
    written, save = [], np.savez

    def filling(path, **arrays):
        if len(written) == 3:
            path.write_bytes(b"half of")
            raise error
        written.append(path)
        save(path, **arrays)

    with monkeypatch.context() as patch:
        patch.setattr(np, "savez", filling)
        with pytest.raises(OSError, match=r"disk is full\. .* goes on after epoch 1\."):
            train(settings(tmp_path, "--checkpoint-every", 1), data)
    assert names(tmp_path) == ["checkpoint-0000-0000002.npz", "checkpoint-0001-0000000.npz"]
    assert not list(tmp_path.glob(".*"))


def test_other_errors_stay_what_they_are(tmp_path, data, monkeypatch):
    def fail(checkpointing):
        raise error

    for error in (
        OSError(errno.EIO, "broken"),
        tf.errors.ResourceExhaustedError(None, None, "OOM"),
    ):
        with monkeypatch.context() as patch:
            at(1, fail, patch)
            with pytest.raises(type(error), match=r"broken|OOM"):
                train(settings(tmp_path), data)


def test_a_lost_worker_is_told_in_a_line_with_a_code_of_its_own():
    with (
        pytest.raises(workers.WorkerLost, match=r"start all again\. From step 3\.") as lost,
        workers.reporting_lost_workers(lambda: "From step 3."),
    ):
        raise tf.errors.UnavailableError(None, None, "Connection reset")
    assert lost.value.exit_code == 75
    with pytest.raises(tf.errors.ResourceExhaustedError), workers.reporting_lost_workers():
        raise tf.errors.ResourceExhaustedError(None, None, "OOM")


# More epochs.


def test_epochs_can_be_added_while_rate_and_temperature_stay(tmp_path, data, monkeypatch):
    def stop(checkpointing):
        checkpointing.received.append(signal.SIGTERM)

    def run(folder, *flags):
        return train(settings(tmp_path / folder, *flags), data)

    trapezoid = ["--schedule", "trapezoid", "--epochs"]
    for folder, flags in (("a", [*trapezoid, 4]), ("b", ["--schedule", "cosine", "--epochs", 4])):
        with monkeypatch.context() as patch:
            at(4, stop, patch)
            with pytest.raises(training.Stopped):
                run(folder, *flags)
    with pytest.raises(FileExistsError, match=r"with another --epochs\. Repeat"):
        run("a", *trapezoid, 3)
    with pytest.raises(FileExistsError, match="--epochs 4, whose learning rate or temperature"):
        run("b", "--schedule", "cosine", "--epochs", 5)
    _, history = run("a", *trapezoid, 5)
    assert len(history) == 5
    assert json.loads((tmp_path / "a/arguments.json").read_text())["epochs"] == 5
