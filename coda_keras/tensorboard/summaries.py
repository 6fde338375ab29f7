"""What is written into TensorBoard's event files: views, figures, videos, tables, epochs.

A view is written as a tensor for the tab "Explanations". Every step is a sequence of byte strings:
a manifest, then packed arrays, as `explorer.storage.encoded_view` makes them. TensorBoard reads the
strings that are looked at.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from PIL import Image
from tensorboard.compat.proto import summary_pb2

from coda_keras.explorer import View
from coda_keras.explorer.storage import encoded_view, fitted
from coda_keras.tensorboard.drawing import Drawing, Pace

PLUGIN = "explanations"
# Of a step, before compression: 12 CIFAR-10 images with all their classes and layers.
MAX_BYTES = 2 * 2**20
WEIGHTS = "int8"


def write_view(tag: str, view: View, step: int, max_bytes: int = MAX_BYTES) -> None:
    """Writes a view with the default writer.

    Maps are float32, weights have 8 bits. Of a view that is larger than `max_bytes` the last
    classes of every image are left out, then layers, then images.

    Args:
        tag: name of the series.
        view: `View`; its classes in order of importance.
        step: int.
        max_bytes: int, bound on the arrays before compression.
    """
    manifest, blobs = encoded_view(fitted(view, max_bytes, WEIGHTS), WEIGHTS)
    metadata = summary_pb2.SummaryMetadata(
        plugin_data=summary_pb2.SummaryMetadata.PluginData(plugin_name=PLUGIN),
        data_class=summary_pb2.DATA_CLASS_BLOB_SEQUENCE,
    )
    text = json.dumps({**manifest, "step": step}, allow_nan=False)
    tf.summary.write(tag, tf.constant([text.encode(), *blobs]), step=step, metadata=metadata)


class Board:
    """Writes figures, the video and the table of numbers into a log folder.

    Args:
        folder: path, or None to write nothing.
    """

    def __init__(self, folder: str | Path | None) -> None:
        self._writer = tf.summary.create_file_writer(str(folder)) if folder else None

    def picture(self, name: str, path: Path) -> None:
        """Writes the picture of a file."""
        if self._writer:
            with Image.open(path) as picture:
                self.video(name, [np.asarray(picture.convert("RGB"))])

    def video(self, name: str, frames: Sequence[np.ndarray]) -> None:
        """Writes frames `(h, w, 3)`, one step each, so that TensorBoard's slider plays them."""
        if self._writer:
            with self._writer.as_default():
                for step, frame in enumerate(frames):
                    tf.summary.image(name, frame[None], step=step)

    def view(self, name: str, view: View) -> None:
        """Writes maps as numbers, for the tab Explanations."""
        if self._writer:
            with self._writer.as_default():
                write_view(name, view, step=0)

    def table(self, markdown: str) -> None:
        """Writes the table of results."""
        if self._writer:
            with self._writer.as_default(step=0):
                tf.summary.text("results", markdown)

    def close(self) -> None:
        """Ends writing."""
        if self._writer:
            self._writer.close()


class EpochBoard(keras.callbacks.Callback):
    """Writes summaries below `log_dir`; event files appear with their first summary.

    Subclasses write numbers after every epoch. What costs time they make in `draw`, after the
    first epoch, the last, and others as long as all of it takes a small part of the time of the
    training (see `Pace`), and have it written by a thread, whose error is raised after the next
    epoch or at the end.

    Args:
        log_dir: path of the run's folder.
        pace: `Pace`, which several boards may share; None for one of its own.
    """

    def __init__(self, log_dir: str | Path, pace: Pace | None = None) -> None:
        super().__init__()
        self.log_dir = Path(log_dir)
        self.pace = pace or Pace()
        self._drawing, self._writers = Drawing(), {}
        self._cost: float | None = None
        self._epoch = self._drawn = -1

    def writer(self, name: str) -> tf.summary.SummaryWriter:
        """Returns the writer of a subfolder, `"."` for the run's own."""
        if name not in self._writers:
            self._writers[name] = tf.summary.create_file_writer(str(self.log_dir / name))
        return self._writers[name]

    def flush(self) -> None:
        """Brings all summaries to disk."""
        for writer in list(self._writers.values()):
            writer.flush()

    def draw(self, epoch: int) -> None:
        """Makes what costs time of an epoch that is over; to be overridden."""

    def draw_if_due(self, epoch: int) -> None:
        """Calls `draw` for an epoch that is over, unless that would take too much time by now."""
        self._epoch = epoch
        last = epoch + 1 == (self.params or {}).get("epochs")
        affordable = self._cost is None or (
            not self._drawing.is_busy and self.pace.allows(self._cost)
        )
        if last or affordable:
            self._draw()

    def in_thread(self, function: Callable[..., None], *arguments: Any) -> None:
        """Has a function of `draw` called in a thread, after those before."""
        self._drawing.begin(self._costing, function, *arguments)

    def close(self) -> None:
        """Waits for what is being drawn, and brings all summaries to disk."""
        try:
            self._drawing.join()
        finally:
            for writer in self._writers.values():
                writer.close()
            self._writers = {}

    def on_train_end(self, logs: dict | None = None) -> None:
        # A training that was stopped early did not know its last epoch.
        if self._drawn != self._epoch:
            self._draw()
        self.close()

    def _draw(self):
        self._drawn, self._cost = self._epoch, 0.0
        self._costing(self.draw, self._epoch)

    def _costing(self, function, *arguments):
        begin = self.pace.clock()
        try:
            function(*arguments)
        finally:
            seconds = self.pace.clock() - begin
            self._cost = (self._cost or 0.0) + seconds
            self.pace.spend(seconds)
