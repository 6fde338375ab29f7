"""A small CoDA-Net on scikit-learn's handwritten digits: trains, explains and packages in minutes.

    coda-keras train digits

The same training as `train cifar10`, on 1,797 digits that come with scikit-learn, enlarged to 16x16
pixels. The last 360 (other writers than most of the rest) are the test set.
"""

from collections.abc import Sequence
from pathlib import Path

from coda_keras_recipes import training_run

from coda_keras.data.augmentation import flip_and_crop
from coda_keras.data.batches import Augment
from coda_keras.data.images import ImageData, load_digits
from coda_keras.training import Settings, SettingsParser
from coda_keras.utils.command_line import command

VALUES = {
    "preset": "s_coda",
    "rescale": "squash",
    "temperature": 100.0,
    "rank_scale": 0.125,
    "epochs": 20,
    "batch_size": 32,
    "learning_rate": 4e-3,
    "schedule": "cosine",
    "optimizer": "adam",
    "output": Path("runs/digits"),
    **training_run.defaults("halve_every", "start_temperature", "rise", "grow", "regularisation"),
}
PADDING = 1


@command
def main(arguments: Sequence[str] | None = None, prog: str | None = None) -> None:
    settings = SettingsParser(__doc__, prog, **VALUES).settings(arguments)
    training_run.run(settings, training_run.coda_net, load, augment, servable="digits")


def load(settings: Settings) -> ImageData:
    """Scikit-learn's digits."""
    return load_digits()


def augment(settings: Settings) -> list[Augment]:
    """Crops of the images with a border."""
    # A mirrored digit is none.
    return [flip_and_crop(PADDING, flip=False)]


if __name__ == "__main__":
    main()
