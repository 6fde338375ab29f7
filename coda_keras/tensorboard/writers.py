"""What the boards of a run share: a summary writer for each of its subfolders."""

from pathlib import Path

import keras
import tensorflow as tf


class EpochBoard(keras.callbacks.Callback):
    """Writes summaries below `log_dir`; event files appear with their first summary.

    Args:
        log_dir: path of the run's folder.
    """

    def __init__(self, log_dir: str | Path) -> None:
        super().__init__()
        self.log_dir = Path(log_dir)
        self._writers = {}

    def writer(self, name: str) -> tf.summary.SummaryWriter:
        """Returns the writer of a subfolder, `"."` for the run's own."""
        if name not in self._writers:
            self._writers[name] = tf.summary.create_file_writer(str(self.log_dir / name))
        return self._writers[name]

    def flush(self) -> None:
        """Brings all summaries to disk."""
        for writer in self._writers.values():
            writer.flush()

    def on_train_end(self, logs: dict | None = None) -> None:
        for writer in self._writers.values():
            writer.close()
        self._writers = {}
