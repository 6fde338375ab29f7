"""XL-CoDA-SQ on Tiny ImageNet: Section 4.1 and supplement C.1 of the paper.

    coda-keras train tiny_imagenet --archive tiny-imagenet-200.zip
    coda-keras train tiny_imagenet --archive tiny-imagenet-200.zip --temperature 6400 --randaugment

The full network (67,562,208 parameters) over the paper's 100 epochs: not run yet with this code.
The data set is prepared from the official zip, or the folder in it, once. The scores are of the
validation images, as the test images have no labels.

The paper's experiments have names; --list shows them.

--fast takes other defaults, for a small network on a CPU: ranks divided by 16, four epochs, Muon, a
temperature that rises, images that grow.

The folder given by --output receives model.keras, metrics.json, gallery.png, the servable and
TensorBoard's event files. An interrupted run resumes when the same command is given again.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from coda_keras_recipes import experiments, training_run

from coda_keras.data.images import ImageData
from coda_keras.training import Settings
from coda_keras.utils.command_line import tensorflow_command

VALUES = {
    "preset": "xl_coda",
    "rescale": "squash",
    "temperature": 64.0,
    "rank_scale": 1.0,
    "epochs": 100,
    "batch_size": 128,
    "learning_rate": 1e-3,
    "schedule": "steps",
    "halve_every": 30,
    "optimizer": "adam",
    "output": Path("runs/tiny_imagenet"),
    **training_run.defaults("initial", "randaugment", "fast", "archive", "cache"),
    **training_run.defaults("start_temperature", "rise", "grow", "regularisation"),
}
FAST = {
    "rank_scale": 0.0625,
    "epochs": 4,
    "batch_size": 64,
    "optimizer": "muon",
    "learning_rate": 3e-3,
    "schedule": "cosine",
    "start_temperature": 10.0,
    "grow": True,
    "precision": "auto",
    "output": Path("runs/tiny_imagenet-fast"),
}
AUGMENT = partial(training_run.augmentation, padding=4)


@tensorflow_command
def main(arguments: Sequence[str] | None = None, prog: str | None = None) -> None:
    settings = parse(arguments, prog)
    training_run.run(settings, training_run.coda_net, load, AUGMENT, servable="tiny_imagenet")


def load(settings: Settings) -> ImageData:
    from coda_keras.data import tiny_imagenet

    return tiny_imagenet.load(settings.data, settings.archive, settings.cache)


def parse(arguments: Sequence[str] | None = None, prog: str | None = None) -> Settings:
    """The settings of a command line; None for that of this process."""
    return experiments.parse(__doc__, "tiny_imagenet", VALUES, FAST, arguments, prog)


if __name__ == "__main__":
    main()
