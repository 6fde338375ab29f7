"""Checkpoints from which an interrupted training resumes."""

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from coda_keras.files import replacing, write_json


def save_model(model: keras.Model, path: str | os.PathLike) -> None:
    """Saves `model` as a `.keras` file, atomically."""
    with replacing(path) as temporary:
        model.save(temporary)


class EpochCheckpoint(keras.callbacks.Callback):
    """Saves model, optimiser and history after every epoch.

    Args:
        folder: where `checkpoint.keras` and `history.json` are kept.
        history: list of the logs of earlier epochs, as `restore` returns it.
    """

    def __init__(self, folder: str | os.PathLike, history: Sequence[dict[str, float]] = ()) -> None:
        super().__init__()
        self.folder = Path(folder)
        self.history = list(history)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._start = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        entry = {name: float(value) for name, value in (logs or {}).items()}
        entry["seconds"] = time.monotonic() - self._start
        self.history = [*self.history[:epoch], entry]
        # The history first: `restore` cuts off what the model does not know of.
        write_json(self.folder / "history.json", self.history)
        save_model(self.model, self.folder / "checkpoint.keras")


def restore(
    folder: str | os.PathLike, steps_per_epoch: int
) -> tuple[keras.Model | None, list[dict[str, float]]]:
    """Loads what `EpochCheckpoint` has saved.

    Args:
        folder: the folder given to `EpochCheckpoint`.
        steps_per_epoch: int, by which the optimiser's step count tells the epoch.

    Returns:
        `(model, history)`: the model with its optimiser, and the logs of the epochs it has
        seen. `(None, [])` if there is no checkpoint.
    """
    folder = Path(folder)
    checkpoint = folder / "checkpoint.keras"
    if not checkpoint.exists():
        return None, []
    model = keras.models.load_model(checkpoint)
    steps = int(keras.ops.convert_to_numpy(model.optimizer.iterations))
    history = json.loads((folder / "history.json").read_text())
    return model, history[: steps // steps_per_epoch]
