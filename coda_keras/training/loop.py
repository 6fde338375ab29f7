"""A training from its first step, or from where it was interrupted, to its report."""

import dataclasses
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import keras

from coda_keras import backend
from coda_keras.data.batches import Augment, TrainBatches
from coda_keras.data.images import ImageData, steps_per_epoch
from coda_keras.models.growth import copy_weights
from coda_keras.models.loading import check_exists, load_model
from coda_keras.training import objective, run_folder, teacher
from coda_keras.training.checkpoints import save_model
from coda_keras.training.confusion import ConfusionAccuracy
from coda_keras.training.devices import Devices
from coda_keras.training.interruption import Checkpointing, explaining_endings, in_float32, signals
from coda_keras.training.report import Package, conclude
from coda_keras.training.settings import Settings
from coda_keras.utils.progress import ProgressBar

History = list[dict[str, float]]
Callbacks = (
    Sequence[keras.callbacks.Callback]
    | Callable[[Settings, keras.Model, ImageData], Sequence[keras.callbacks.Callback]]
)


class Trained(NamedTuple):
    """The result of a training.

    Attributes:
        net: the trained net, a `CoDANet` in float32 whatever it was trained in.
        history: list with a dict of logs for each epoch.
        metrics: dict, what metrics.json holds: accuracy on the test images, and more; None of a
            worker that is not the chief.
    """

    net: keras.Model
    history: History
    metrics: dict[str, Any] | None


def fit(
    settings: Settings,
    build: Callable[[Settings, ImageData], keras.Model],
    data: ImageData | Callable[[Settings], ImageData],
    augment: Sequence[Augment] | Callable[[Settings], Sequence[Augment]] = (),
    callbacks: Callbacks = (),
    package: Package | None = None,
) -> Trained:
    """Trains a net, or goes on with an interrupted training, tests it and writes its report.

    The folder `settings.output` receives what `coda_keras.training` lists.

    Args:
        settings: `Settings`.
        build: function `(settings, data) -> net`, which returns the untrained net; one that is
            compiled keeps its optimiser and its loss.
        data: `ImageData`, or a function of the settings that loads it. With several replicas on a
            CPU only a function will do, since TensorFlow must not compute anything before.
        augment: functions for one image, as `coda_keras.data.augmentation` makes them; or a
            function of the settings that returns such.
        callbacks: of Keras; or a function `(settings, net, data)` that makes them for the compiled
            net. Of several workers only the chief has them.
        package: as for `conclude`.

    Returns:
        `Trained`.

    Raises:
        FileExistsError: if the folder holds a finished run, or one with other settings.
        NotADirectoryError: if it is a file.
        ValueError: if settings do not fit the machine or the data.
        FloatingPointError: if a loss or weight is not finite.
        Stopped: after a signal; the same call goes on.
    """
    devices = start(settings)
    settings = resolved(settings, devices)
    data = data(settings) if callable(data) else data
    data = data.hold_out(settings.hold_out) if settings.hold_out else data
    data = data.limit(settings.limit_train, settings.limit_test)
    augment = augment(settings) if callable(augment) else augment
    net, history = train(settings, devices, build, data, augment, callbacks)
    metrics = conclude(settings, net, data, history, package) if devices.chief else None
    return Trained(net, history, metrics)


def start(settings: Settings, kind: type[Devices] | None = None) -> Devices:
    """Checks that a run can begin or go on, and sets seed, precision and devices.

    To be called before TensorFlow computes anything. It writes nothing: the folder of the run
    appears when training begins.

    Args:
        settings: `Settings`.
        kind: class of the devices; None for that of the running backend.

    Returns:
        What to train on.

    Raises:
        FileExistsError: if the folder holds a finished run, or one with other settings.
        NotADirectoryError: if it is a file.
        ValueError: if there are fewer devices than asked for, they cannot share a batch, a setting
            needs TensorFlow, or there is no net to begin with.
    """
    run_folder.check(settings)
    if settings.initial:
        check_exists(settings.initial)
    keras.utils.set_random_seed(settings.seed)
    devices = (kind or _devices())(settings)
    # Not before: what is timed for it starts the devices.
    earlier = run_folder.earlier(settings.folder, "precision")
    devices.set_precision(settings.precision, earlier)
    return devices


def train(
    settings: Settings,
    devices: Devices,
    build: Callable[[Settings, ImageData], keras.Model],
    data: ImageData,
    augment: Sequence[Augment] = (),
    callbacks: Callbacks = (),
) -> tuple[keras.Model, History]:
    """Trains `build(settings, data)`, or what an interrupted run has left, to the last epoch.

    Args:
        settings: `Settings`.
        devices: as `start` returns it.
        build, data, augment, callbacks: as for `fit`, the images and what augments them as such.

    Returns:
        `(net, history)`, as in `Trained`.

    Raises:
        ValueError: if there are fewer training images than a batch holds.
    """
    settings = resolved(settings, devices)
    steps = steps_per_epoch(len(data.train_images), settings.batch_size)
    with devices.scope():
        net = build(settings, data)
        if net.compiled:
            loss = net.loss
        else:
            loss = objective.loss(settings, net, steps, data)
            net.optimizer = objective.optimizer(settings, steps)
        net.optimizer.build(net.trainable_variables)
        progress = devices.restore(settings.folder, net)
        begun = progress.epoch or progress.step
        if not begun and settings.initial:
            copy_weights(load_model(settings.initial), net)
        accuracy = ConfusionAccuracy(len(data.class_names))
        net.compile(
            optimizer=net.optimizer,
            loss=loss,
            metrics=[accuracy],
            jit_compile=devices.jit_compile,
        )
    devices.set_steps(net, settings.accumulate)
    objective.anneal(net)
    if devices.chief:
        if begun:
            objective.check_resumed(settings, net, steps, data, progress)
            done, of = progress.epoch, settings.epochs
            print(f"Resuming after epoch {done} of {of}, step {progress.step}.")
        run_folder.record(settings)
        callbacks = callbacks(settings, net, data) if callable(callbacks) else callbacks
    else:
        callbacks = ()
    with signals(signal.SIGINT, signal.SIGTERM) as received:
        checkpointing = Checkpointing(settings, progress, [accuracy], received, devices.chief)
        with (
            explaining_endings(settings, net, checkpointing),
            devices.explaining_errors(checkpointing.how_to_go_on),
            _closing(callbacks),
        ):
            _fit_epochs(settings, devices, net, data, augment, [*callbacks, checkpointing])
    net = in_float32(net, settings.precision)
    if devices.chief:
        save_model(net, settings.folder / "model.keras")
    return net, progress.history


def resolved(settings: Settings, devices: Devices) -> Settings:
    """The settings with the precision in which the devices compute, in place of `"auto"`."""
    return dataclasses.replace(settings, precision=devices.precision)


def _devices() -> type[Devices]:
    if backend.NAME != "tensorflow":
        return Devices
    from coda_keras.training.tf_distribution import TensorFlowDevices

    return TensorFlowDevices


@contextmanager
def _closing(callbacks: Sequence[keras.callbacks.Callback]) -> Iterator[None]:
    """Where a training does not come to its end, waits for what callbacks still write."""
    try:
        yield
    except BaseException:
        for callback in callbacks:
            try:
                getattr(callback, "close", lambda: None)()
            except Exception as error:
                print(f"{type(callback).__name__}: {error}", file=sys.stderr)
        raise


class _Counting(keras.callbacks.Callback):
    """Counts steps when they begin: at their end Keras would wait for their metrics."""

    def __init__(self, bar: ProgressBar) -> None:
        super().__init__()
        self._bar = bar

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._bar.update()


def _fit_epochs(settings, devices, net, data, augment, callbacks):
    """Trains from where the progress is to the last epoch."""
    progress = callbacks[-1].progress
    steps = steps_per_epoch(len(data.train_images), settings.batch_size)
    tests = devices.test_batches(data)
    targets = teacher.targets(settings, data.train_labels)
    verbose = (1 if sys.stdout.isatty() else 2) if devices.chief else 0
    done, total = steps * progress.epoch + progress.step, steps * settings.epochs
    # On a terminal Keras shows a bar for every epoch; a log would have a line at its end alone.
    with ProgressBar("training", "step", total, done, shown=verbose == 2) as counted:
        callbacks = [_Counting(counted), *callbacks]
        # The rest of an epoch is a `fit` of its own, since those take epochs of equal length.
        while progress.epoch < settings.epochs:
            batches = TrainBatches(
                data.train_images,
                data.train_labels,
                settings.batch_size,
                settings.epochs,
                start_epoch=progress.epoch,
                start_step=progress.step,
                seed=settings.seed,
                augment=augment,
                sizes=objective.image_sizes(settings, data),
                alternate_flip=settings.alternate_flip,
                share=devices.share,
                targets=targets,
            )
            net.fit(
                devices.batches.train_batches(batches),
                steps_per_epoch=steps - progress.step,
                initial_epoch=progress.epoch,
                epochs=progress.epoch + 1 if progress.step else settings.epochs,
                validation_data=tests,
                callbacks=callbacks,
                shuffle=False,
                verbose=verbose,
            )
