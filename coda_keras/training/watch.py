"""What watches over a training: checkpoints, signals, losses that are not finite."""

import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from coda_keras.training import checkpoints
from coda_keras.training.checkpoints import Progress, save_model
from coda_keras.utils.files import write_json

# Steps after which the losses since are looked at: each look waits for the device.
LOOK_EVERY = 20
UNITS = {"s": 1, "min": 60, "h": 3600}


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


def interval(text: str) -> tuple[int | None, float | None]:
    """Reads "500" as 500 steps and "90s", "20min" or "2h" as a time.

    >>> interval("500"), interval("20min")
    ((500, None), (None, 1200.0))

    Returns:
        `(steps, seconds)`, one of them None.

    Raises:
        ValueError: if it is neither.
    """
    number = text.rstrip("".join(UNITS))
    unit = text[len(number) :]
    try:
        value = float(number)
    except ValueError:
        value = 0.0
    if value > 0 and unit in UNITS:
        return None, value * UNITS[unit]
    if value >= 1 and not unit and number.isdecimal():
        return int(number), None
    raise ValueError(f"{text} is neither a number of steps nor a time such as 90s, 20min or 2h.")


class Watch(keras.callbacks.Callback):
    """Saves checkpoints, and ends a training that was signalled to or whose loss is not finite.

    After every epoch there is a checkpoint, `history.json` and, if asked for, the net as
    `checkpoints/<epochs>.keras`.

    Args:
        folder: of the run.
        progress: where the training begins, as `restore` returns it; kept up to date.
        metrics: those that the net is compiled with, besides its loss.
        every: as for `interval`, when an epoch gets checkpoints in between.
        keep: bool, whether the net of every epoch is kept.
        received: list of signals, as `signals` yields it.
        write: bool, whether to write anything.

    Raises:
        FloatingPointError: from `fit`, if a loss or weight is not finite.
        Stopped: from `fit`, after a signal.
    """

    def __init__(
        self,
        folder: Path,
        progress: Progress,
        metrics: Sequence[keras.metrics.Metric],
        every: str = "15min",
        keep: bool = False,
        received: Sequence[int] = (),
        write: bool = True,
    ) -> None:
        super().__init__()
        self.folder, self.progress, self.metrics = folder, progress, list(metrics)
        self.steps, self.seconds = interval(every)
        self.keep, self.received, self.write = keep, received, write
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
        if self.received:
            raise Stopped(self.how_to_go_on(), self.received[0])

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
        if self.received:
            raise Stopped(self.how_to_go_on(), self.received[0])

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
        if self.steps:
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
        self._last = time.monotonic()
        if self.write:
            checkpoints.save(self.folder, self.model, self.progress)
            self.saved = self.progress.epoch, self.progress.step
