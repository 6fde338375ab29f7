"""S-CoDA-SQ on CIFAR-10: Section 4.1 and supplement C.1 of the paper.

    coda-keras train cifar10

trains the full network over the paper's 200 epochs (not run yet with this code). It uses all GPUs
there are, or the CPU. In a clone, `python recipes/cifar10.py` is the same.

    coda-keras train cifar10 --fast

trains a network with an eighth of the ranks in less time, on a machine without a GPU.

The paper's experiments have names; --list shows them with its numbers and ours.

    coda-keras train cifar10 --experiment s_coda_sq_t10

The folder given by --output receives model.keras, metrics.json, gallery.png, the servable and
TensorBoard's event files (tensorboard --logdir runs). An interrupted run resumes when the same
command is given again.
"""

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from coda_keras_recipes import experiments, training_run

from coda_keras.data import loading
from coda_keras.data.cifar10 import is_there
from coda_keras.data.images import ImageData
from coda_keras.training import Settings
from coda_keras.utils import extras
from coda_keras.utils.command_line import command

VALUES = {
    "preset": "s_coda",
    "rescale": "squash",
    "temperature": 1000.0,
    "rank_scale": 1.0,
    "epochs": 200,
    "batch_size": 16,
    "learning_rate": 2.5e-4,
    "schedule": "steps",
    "halve_every": 60,
    "optimizer": "adam",
    "output": Path("runs/cifar10"),
    **training_run.defaults("initial", "alternate_flip", "randaugment", "cutout", "fast"),
    **training_run.defaults(
        "start_temperature", "rise", "grow", "regularisation", "grid_loss", "hold_out"
    ),
    **training_run.defaults("teacher", "label_weight"),
    **training_run.defaults("teacher_targets", "teacher_scale", "teacher_shift"),
    **training_run.defaults("map_teacher", "map_weight"),
}
# With --fast; docs/training.md says what each of these is worth.
FAST = {
    "rank_scale": 0.125,
    "epochs": 12,
    "batch_size": 64,
    "optimizer": "muon",
    "learning_rate": 3e-3,
    "schedule": "cosine",
    "start_temperature": 10.0,
    "precision": "auto",
    "output": Path("runs/cifar10-fast"),
}
AUGMENT = partial(training_run.augmentation, padding=4)


@command
def main(arguments: Sequence[str] | None = None, prog: str | None = None) -> None:
    settings = parse(arguments, prog)
    check_data(settings)
    training_run.run(settings, training_run.coda_net, load, AUGMENT, servable="coda")


def check_data(settings: Settings) -> None:
    """Raises ModuleNotFoundError if the data needs TensorFlow Datasets, and that is missing.

    This is known before Keras is imported, which takes seconds.
    """
    place = Path(settings.data) if settings.data else None
    files = place is not None and (place.suffix == ".npz" or is_there(place))
    if not files and os.environ["KERAS_BACKEND"] == "tensorflow":
        extras.require("train", "tensorflow_datasets")


def load(settings: Settings) -> ImageData:
    """CIFAR-10, from `--data` or TensorFlow Datasets."""
    return loading.load("cifar10", settings.data)


def parse(arguments: Sequence[str] | None = None, prog: str | None = None) -> Settings:
    """The settings of a command line; None for that of this process."""
    return experiments.parse(__doc__, "cifar10", VALUES, FAST, arguments, prog)


if __name__ == "__main__":
    main()
