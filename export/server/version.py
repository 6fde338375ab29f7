"""A version of a model in the embedded server, and what became of it."""

from pathlib import Path
from typing import NamedTuple

from coda_keras_export.servable.folder import Fingerprint
from coda_keras_export.servable.loading import Servable

LOADING, AVAILABLE, FAILED = "LOADING", "AVAILABLE", "END"


class State(NamedTuple):
    """`LOADING`, `AVAILABLE` or `FAILED`, and why it is not served."""

    name: str
    reason: str = ""


class Version:
    """A version that was found, whatever became of it.

    Args:
        path: folder of the SavedModel.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.state = path, State(LOADING)
        self.servable: Servable | None = None
        # Requests that it answers now; it is closed when it is dropped and they are done.
        self.uses, self.dropped = 0, False
        # When it may be tried again after it failed, and which files it had.
        self.attempts, self.again = 0, 0.0
        self.files: Fingerprint | None = None
        # The attempt that goes on, and how many of those that were given up have not ended.
        self.load: object = None
        self.hanging = 0

    def due(self, now: float) -> bool:
        """Whether it may be tried again though its files are the same.

        One that hangs would hang again, and each time a thread would stay behind.
        """
        return now >= self.again and not self.hanging
