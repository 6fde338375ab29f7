"""How a training is saved while it lasts, and what ends it: signals, losses, full disks."""

import errno
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
from keras import ops

from coda_keras.models.coda_net import CoDANet
from coda_keras.models.precision import float32_copy
from coda_keras.training import checkpoints
from coda_keras.training.checkpoints import Progress, save_model
from coda_keras.training.intervals import interval
from coda_keras.training.settings import Settings
from coda_keras.utils.files import write_json

# Steps after which the losses since are looked at: each look waits for the device.
LOOK_EVERY = 20
FULL_DISK = (errno.ENOSPC, errno.EDQUOT)


class Stopped(KeyboardInterrupt):
    """A signal ended the training.

    Args:
        message: str, how to go on.
        number: int, of the signal.

    Attributes:
        exit_code: 128 and that number, as shells have it: 130 after Ctrl-C, 143 after SIGTERM.
    """

    def __init__(self, message: str, number: int = signal.SIGINT) -> None:
        super().__init__(message)
        self.exit_code = 128 + int(number)


@contextmanager
def signals(*numbers: int) -> Iterator[list[int]]:
    """Yields a list that receives what is signalled meanwhile, instead of the process ending.

    A second one raises `KeyboardInterrupt` at once.
    """
    received: list[int] = []

    def note(number, frame):
        if received:
            raise KeyboardInterrupt
        received.append(number)
        print("Stopping after a checkpoint; once more to stop at once.", file=sys.stderr)

    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    before = {number: signal.signal(number, note) for number in numbers}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Checkpointing(keras.callbacks.Callback):
    """Saves checkpoints, and ends a training that was signalled to or whose loss is not finite.

    After every epoch there is a checkpoint, `history.json` and, if asked for, the net as
    `checkpoints/<epochs>.keras`.

    Args:
        settings: of the run: its folder, and when there are checkpoints.
        progress: where the training begins, as `restore` returns it; kept up to date.
        metrics: those that the net is compiled with, besides its loss.
        received: list of signals, as `signals` yields it.
        write: bool, whether to write anything.

    Raises:
        FloatingPointError: from `fit`, if a loss or weight is not finite.
        Stopped: from `fit`, after a signal.
    """

    def __init__(
        self,
        settings: Settings,
        progress: Progress,
        metrics: Sequence[keras.metrics.Metric],
        received: Sequence[int] = (),
        write: bool = True,
    ) -> None:
        super().__init__()
        self.folder, self.progress, self.metrics = settings.folder, progress, list(metrics)
        self.steps, self.seconds = interval(settings.checkpoint_every)
        self.keep, self.received, self.write = settings.keep_checkpoints, received, write
        begun = progress.epoch or progress.step
        self.saved = (progress.epoch, progress.step) if begun else None
        self._sums: list[Any] = []

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        now = time.monotonic()
        self._begin, self._last = now - self.progress.seconds, now
        self._first = self.progress.step
        self._all_metrics = [self._loss(), *self.metrics]
        if self.progress.metrics:
            checkpoints.set_metrics(self._all_metrics, self.progress.metrics)

    # Not `on_train_batch_end`, for which Keras waits for the metrics of every step.
    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        checkpoints.synchronise(self.model)
        if not batch:
            return
        done = self._first + batch
        self._sums.append((done, checkpoints.value_of(self._loss().total)))
        due = self.received or self._is_due(done)
        if due or done % LOOK_EVERY == 0:
            self._look()
        if due:
            self._look_at_weights(done)
            self.progress.step = done
            self.progress.seconds = time.monotonic() - self._begin
            self.progress.metrics = checkpoints.read_metrics(self._all_metrics)
            self._save()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._look()
        last = self._first + self.params["steps"]
        entry = {name: float(value) for name, value in (logs or {}).items()}
        if not np.isfinite(entry.get("loss", 0.0)):
            self._not_finite("The loss", last)
        self._look_at_weights(last)
        entry["seconds"] = time.monotonic() - self._begin
        self.progress.history = [*self.progress.history[:epoch], entry]
        self.progress.epoch, self.progress.step = epoch + 1, 0
        self.progress.seconds, self.progress.metrics = 0.0, []
        if self.write:
            write_json(self.folder / "history.json", self.progress.history)
            if self.keep:
                save_model(self.model, self.folder / "checkpoints" / f"{epoch + 1:03d}.keras")
        self._save()

    def how_to_go_on(self) -> str:
        """A sentence about what is saved."""
        if not self.write:
            return "The chief says where they go on."
        if self.saved is None:
            return (
                "Interrupted before the first checkpoint: the same command begins where this one "
                "did."
            )
        epoch, step = self.saved
        steps = f" and {step} steps of the next" if step else ""
        return f"Interrupted; the same command goes on after epoch {epoch}{steps}."

    def _loss(self):
        return next(metric for metric in self.model.metrics if metric.name == "loss")

    def _is_due(self, done):
        if self.seconds is None:
            return done % self.steps == 0
        return time.monotonic() - self._last >= self.seconds

    def _look(self):
        """Looks at the sums of losses since the last time; what is not finite stays so."""
        sums, self._sums = self._sums, []
        for step, total in sums:
            if not np.isfinite(ops.convert_to_numpy(total)):
                self._not_finite("The loss", step)

    def _look_at_weights(self, step):
        if not checkpoints.is_finite(self.model):
            self._not_finite("A weight", step)

    def _not_finite(self, what, step):
        epoch = len(self.progress.history) + 1
        raise FloatingPointError(f"{what} is not finite after step {step} of epoch {epoch}.")

    def _save(self):
        """Saves a checkpoint, after which a signal ends the training."""
        self._last = time.monotonic()
        if self.write:
            checkpoints.save(self.folder, self.model, self.progress)
            self.saved = self.progress.epoch, self.progress.step
        if self.received:
            raise Stopped(self.how_to_go_on(), self.received[0])


@contextmanager
def explaining_endings(
    settings: Settings, net: keras.Model, checkpointing: Checkpointing
) -> Iterator[None]:
    """Says of what ends a training how to go on.

    Args:
        settings: of the run.
        net: what is trained.
        checkpointing: the callback that saves the training.
    """
    try:
        yield
    except Stopped:
        raise
    except KeyboardInterrupt as end:
        raise Stopped(checkpointing.how_to_go_on()) from end
    except FloatingPointError as error:
        message = f"{error} Try a lower --learning-rate, or --precision float32."
        if checkpointing.saved and checkpointing.write:
            checkpoints.restore(settings.folder, net)
            path = settings.folder / "last-good.keras"
            save_model(in_float32(net, settings.precision), path)
            epoch, step = checkpointing.saved
            message += f" {path} has the weights after epoch {epoch} and {step} steps."
        raise FloatingPointError(message) from error
    except OSError as error:
        if error.errno not in FULL_DISK:
            raise
        message = f"The disk is full. {checkpointing.how_to_go_on()}"
        raise OSError(error.errno, message) from error


def in_float32(net: keras.Model, precision: str) -> keras.Model:
    """The net that a run leaves behind: a `CoDANet` explains itself exactly in float32 only."""
    if isinstance(net, CoDANet) and precision != "float32":
        return float32_copy(net)
    return net
