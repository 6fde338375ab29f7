"""Figures, videos and tables of a study in TensorBoard."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure

from coda_keras.explorer import View
from coda_keras.figures import figure_rgb
from coda_keras.tensorboard.explanations import write_view


class Board:
    """Writes figures, the video and the table of numbers into a log folder.

    Args:
        folder: path, or None to write nothing.
    """

    def __init__(self, folder: str | Path | None) -> None:
        self._writer = tf.summary.create_file_writer(str(folder)) if folder else None

    def figure(self, name: str, figure: Figure) -> None:
        """Writes a figure as a picture."""
        if self._writer:
            self.video(name, [figure_rgb(figure)])

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
