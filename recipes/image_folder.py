"""A net for your own photographs: trains on a folder of images, explains and packages.

    coda-keras train image_folder --data FOLDER

FOLDER has a folder of images for every class, such as FOLDER/cats and FOLDER/dogs, in any formats
and sizes. A fifth of every class becomes test images, the same in every run. Or divide FOLDER
yourself, into train/<class> and val/<class>. Images are turned upright, cropped to squares and
scaled to --image-size.

Training begins with the net for small photographs that comes with the package, and a new last
layer. --preset s_coda --rank-scale 0.125 --start-temperature 10 --learning-rate 3e-3 begins with
random weights, in a net of the same size. --initial MODEL begins with any other trained net, such
as a B-cos network for ImageNet from `coda-keras import bcos`: its layers, and a new last one.

The folder given by --output receives model.keras, metrics.json, gallery.png, explorer.html, the
servable, a test image of each class and TensorBoard's event files. An interrupted run resumes when
the same command is given again.
"""

from collections.abc import Sequence
from pathlib import Path

from coda_keras_recipes import training_run

import coda_keras
from coda_keras.data import image_folder
from coda_keras.data.batches import Augment
from coda_keras.data.images import ImageData
from coda_keras.training import Settings, SettingsParser
from coda_keras.utils.command_line import command

VALUES = {
    "preset": "s_coda_cifar10",
    "image_size": 64,
    "test_fraction": 0.2,
    "epochs": 20,
    "batch_size": 32,
    "optimizer": "muon",
    "learning_rate": 1e-3,
    "schedule": "cosine",
    "output": Path("runs/image_folder"),
    **training_run.defaults(
        "initial", "rescale", "temperature", "rank_scale", "randaugment", "cache"
    ),
    **training_run.defaults("halve_every", "start_temperature", "rise", "grow"),
}
PADDING = 0.125  # of the image size


@command
def main(arguments: Sequence[str] | None = None, prog: str | None = None) -> None:
    parser = SettingsParser(__doc__, prog, **VALUES)
    settings = parser.settings(arguments)
    if settings.data is None:
        parser.error("--data FOLDER is needed: a folder with a folder of images for every class")
    training_run.run(settings, build, load, augment, servable="image_folder")


def build(settings: Settings, data: ImageData) -> "coda_keras.CoDANet":
    """The net of --preset, or one like that of --initial, for the classes of the data."""
    if settings.initial is None:
        return training_run.coda_net(settings, data)
    from coda_keras.models.growth import for_classes

    source = coda_keras.load_model(settings.initial)
    size, name = data.test_images.shape[1], settings.folder.resolve().name
    return for_classes(source, data.class_names, size, name)


def load(settings: Settings) -> ImageData:
    """The images of `--data`, and a line about those that are left out."""
    photographs = image_folder.scan(settings.data, settings.test_fraction)
    print(*photographs.notes, sep="\n")
    return photographs.load(settings.image_size, cache=settings.cache)


def augment(settings: Settings) -> list[Augment]:
    """That of all recipes, with a border as wide as the images need."""
    return training_run.augmentation(settings, round(PADDING * settings.image_size))


if __name__ == "__main__":
    main()
