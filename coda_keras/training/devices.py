"""What a training computes on: one device of whatever Keras runs on."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any

import keras

from coda_keras import backend
from coda_keras.data import numpy_batches
from coda_keras.data.images import ImageData
from coda_keras.training import checkpoints
from coda_keras.training.checkpoints import Progress
from coda_keras.training.precision import EXACT, resolve, set_policy
from coda_keras.training.settings import Settings

# Settings of what is made for TensorFlow, with the values that leave it out.
NEEDS_TENSORFLOW = {
    "randaugment": (False,),
    "replicas": (None, 1),
    "accumulate": (1,),
    "deterministic": (False,),
}


class Devices:
    """One device, with batches by NumPy. TensorFlow has `tf_distribution.TensorFlowDevices`.

    Args:
        settings: of the run.

    Attributes:
        batches: module that makes the batches.
        chief: bool, whether this process writes what the run leaves behind.
        share: `(index, count)`, which part of every batch this process trains on.
        jit_compile: bool, whether Keras compiles the steps by XLA.
        precision: str, name of the dtype policy, once `set_precision` was called.

    Raises:
        ValueError: if a setting needs TensorFlow.
    """

    batches: ModuleType = numpy_batches
    chief = True
    share = (0, 1)
    precision = EXACT

    def __init__(self, settings: Settings) -> None:
        for name, without in NEEDS_TENSORFLOW.items():
            if getattr(settings, name) not in without:
                raise ValueError(
                    f"--{name.replace('_', '-')} needs Keras on TensorFlow, and it runs on "
                    f"{backend.NAME}. Leave it out, or set KERAS_BACKEND=tensorflow."
                )
        self.jit_compile = backend.use_xla()
        print(
            f"Keras runs on {backend.NAME}: no TensorBoard and no servable, which need TensorFlow."
        )

    def set_precision(self, asked: str, earlier: str | None = None) -> None:
        """Sets the dtype policy that `precision.resolve` chooses on the chief's machine."""
        self.precision = self.from_chief(resolve(asked, earlier) if self.chief else asked)
        set_policy(self.precision)

    def from_chief(self, text: str) -> str:
        """The chief's text, for every process of this training."""
        return text

    def scope(self) -> AbstractContextManager:
        """Within which the net is built and compiled."""
        return nullcontext()

    def restore(self, folder: Path, net: keras.Model) -> Progress:
        """Brings a net to the newest checkpoint; see `coda_keras.training.checkpoints.restore`."""
        return checkpoints.restore(folder, net)

    def set_steps(self, net: keras.Model, parts: int) -> None:
        """Makes a compiled net compute its steps in so many parts, or shared among processes."""

    def test_batches(self, data: ImageData) -> Any:
        """All test images in batches."""
        return self.batches.test_batches(data.test_images, data.test_labels)

    def explaining_errors(self, how_to_go_on: Callable[[], str]) -> AbstractContextManager:
        """Within which errors of the backend become those that a user can fix.

        Args:
            how_to_go_on: function that returns a sentence about what is saved.
        """
        return nullcontext()
