"""L-CoDA-SQ on the first 100 classes of ImageNet: Section 4.1 and supplement C.1 of the paper.

    coda-keras train imagenet --data FOLDER
    coda-keras train imagenet --data FOLDER --model resnet50

The network of 47,517,408 parameters over the paper's 60 epochs, and the ResNet-50 that it is
compared with under the same recipe: not run yet with this code. Images are scaled to 256x256
pixels and cropped to 240x240. The scores are of the validation images, top-1 and top-5.

They are the experiments l_coda_sq_t100000 and resnet50 of --list.

FOLDER holds train/<class>/* and val/<class>/*, of which the first 100 classes by name are taken; or
imagenet2012 as TensorFlow Datasets prepares it from the files in FOLDER/downloads/manual. --cache
names a folder for the decoded images, 24 GiB, which are read once.

The folder given by --output receives model.keras, metrics.json, gallery.png, the servable and
TensorBoard's event files. An interrupted run resumes when the same command is given again.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from coda_keras_recipes import experiments, training_run

from coda_keras.training import Settings
from coda_keras.utils.command_line import Parser, tensorflow_command

if TYPE_CHECKING:
    import keras

    from coda_keras.data.batches import Augment
    from coda_keras.data.images import ImageData

NETWORK = {
    "preset": "l_coda",
    "rescale": "squash",
    "temperature": 1e5,
    "rank_scale": 1.0,
    "regularisation": 0.0,
}
VALUES = {
    "model": "coda",
    **NETWORK,
    "epochs": 60,
    "batch_size": 64,
    "learning_rate": 1e-3,
    "schedule": "steps",
    "warmup_epochs": 15,
    "warmup_from": 2.5e-4,
    "halve_every": 20,
    "cache": Path("runs/imagenet-cache"),
    "output": Path("runs/imagenet"),
}
RESNET50 = {"model": "resnet50", "output": Path("runs/imagenet-resnet50")}
CLASSES = 100
RESIZED, CROPPED = 256, 240


@tensorflow_command
def main(arguments: Sequence[str] | None = None, prog: str | None = None) -> None:
    training_run.run(parse(arguments, prog), build, load, augment, servable="imagenet")


def load(settings: Settings) -> "ImageData":
    """The images of a folder of class folders, or of TensorFlow Datasets."""
    if settings.data and (Path(settings.data) / "train").is_dir():
        from coda_keras.data import image_folder

        folder = image_folder.scan(settings.data, classes=CLASSES)
        return folder.load(CROPPED, RESIZED, settings.cache)
    import tensorflow_datasets as tfds

    from coda_keras.data import tf_records
    from coda_keras.data.tf_batches import prepared

    builder = prepared(tfds.builder("imagenet2012", data_dir=settings.data))
    return tf_records.read(builder, CROPPED, RESIZED, CLASSES, cache=settings.cache)


def augment(settings: Settings) -> list["Augment"]:
    from coda_keras.data.augmentation import flip_and_crop, rand_augment

    return [rand_augment(), flip_and_crop(padding=0, size=CROPPED)]


def build(settings: Settings, data: "ImageData") -> "keras.Model":
    if settings.model == "resnet50":
        from coda_keras.models.resnet import resnet50

        return resnet50(classes=len(data.class_names), image_size=CROPPED)
    return training_run.coda_net(settings, data)


def parse(arguments: Sequence[str] | None = None, prog: str | None = None) -> Settings:
    """The settings of the model that is asked for: a ResNet has neither ranks nor a temperature."""
    first = Parser(add_help=False, prog=prog)
    first.add_argument("--model")
    first.add_argument("--experiment")
    asked, _ = first.parse_known_args(arguments)
    values = VALUES
    if "resnet50" in (asked.model, asked.experiment):
        common = {name: value for name, value in VALUES.items() if name not in NETWORK}
        values = {**common, **RESNET50}
    return experiments.parse(__doc__, "imagenet", values, None, arguments, prog)


if __name__ == "__main__":
    main()
