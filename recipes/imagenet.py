"""L-CoDA-SQ on the first 100 classes of ImageNet: Section 4.1 and supplement C.1 of the paper.

    python recipes/imagenet.py --data FOLDER
    python recipes/imagenet.py --data FOLDER --model resnet50

The network of 47,517,408 parameters over the paper's 60 epochs, and the ResNet-50 that it is
compared with under the same recipe: not run yet with this code. Images are scaled to 256x256
pixels and cropped to 240x240. The scores are of the validation images, top-1 and top-5.

They are the experiments l_coda_sq_t100000 and resnet50 of --list.

FOLDER holds train/<class>/* and val/<class>/*, of which the first 100 classes by name are taken; or
imagenet2012 as TensorFlow Datasets prepares it from the files in FOLDER/downloads/manual. --cache
names a folder for the decoded images, 25 GiB, which are read once.

The folder given by --output receives model.keras, metrics.json, gallery.png, the servable and
TensorBoard's event files. An interrupted run resumes when the same command is given again.
"""

import os
from pathlib import Path

os.environ["KERAS_BACKEND"] = "tensorflow"


from coda_keras_export.package import package
from coda_keras_recipes import experiments

from coda_keras import CoDANet, training
from coda_keras.data import image_folder
from coda_keras.data import tf_records as records
from coda_keras.data.tf_augmentation import flip_and_crop, rand_augment
from coda_keras.data.tf_batches import prepared
from coda_keras.models.resnet import resnet50

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
OPERATIONS, MAGNITUDE = 2, 9  # of RandAugment


@training.command
def main():
    args = parse()
    strategy = training.start(args)
    data = load(args).limit(args.limit_train, args.limit_test)
    augment = [rand_augment(OPERATIONS, MAGNITUDE), flip_and_crop(padding=0, size=CROPPED)]

    def build():
        if args.model == "resnet50":
            return resnet50(classes=len(data.class_names), image_size=CROPPED)
        return CoDANet.from_preset(
            args.preset,
            classes=len(data.class_names),
            rescale=args.rescale,
            temperature=args.temperature,
            rank_scale=args.rank_scale,
            image_size=CROPPED,
            class_names=data.class_names,
            regularisation=args.regularisation,
        )

    def servable(net, folder, labels):
        return package(net, folder, "imagenet", labels=labels)

    net, history = training.train(args, strategy, build, data, augment)
    training.conclude(args, net, data, history, servable)


def load(args):
    """The images of a folder of class folders, or of TensorFlow Datasets."""
    if args.data and (Path(args.data) / "train").is_dir():
        found = image_folder.scan(args.data, classes=CLASSES)
        return found.load(CROPPED, RESIZED, args.cache)
    import tensorflow_datasets as tfds

    builder = prepared(tfds.builder("imagenet2012", data_dir=args.data))
    return records.read(builder, CROPPED, RESIZED, CLASSES, cache=args.cache)


def parse(arguments=None):
    """The flags of the model that is asked for: a ResNet has neither ranks nor a temperature."""
    first = training.Parser(add_help=False)
    first.add_argument("--model")
    first.add_argument("--experiment")
    asked, _ = first.parse_known_args(arguments)
    values = VALUES
    if "resnet50" in (asked.model, asked.experiment):
        common = {name: value for name, value in VALUES.items() if name not in NETWORK}
        values = {**common, **RESNET50}
    return experiments.parse(__doc__, "imagenet", values, None, arguments)


if __name__ == "__main__":
    main()
