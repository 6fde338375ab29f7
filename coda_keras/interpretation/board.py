"""The results in TensorBoard."""

import tensorflow as tf

from coda_keras.figures import figure_rgb


class Board:
    """Writes figures, the video and the table of numbers into a log folder.

    Args:
        folder: path, or None to write nothing.
    """

    def __init__(self, folder):
        self._writer = tf.summary.create_file_writer(str(folder)) if folder else None

    def figure(self, name, figure):
        self._images(name, [figure_rgb(figure)])

    def video(self, name, frames):
        """One step a frame, so that TensorBoard's slider plays them."""
        self._images(name, frames)

    def table(self, markdown):
        if self._writer:
            with self._writer.as_default(step=0):
                tf.summary.text("results", markdown)

    def close(self):
        if self._writer:
            self._writer.close()

    def _images(self, name, pictures):
        if self._writer:
            with self._writer.as_default():
                for step, picture in enumerate(pictures):
                    tf.summary.image(name, picture[None], step=step)
