"""XL-CoDA-SQ on Tiny ImageNet: Section 4.1 and supplement C.1 of the paper.

    python recipes/tiny_imagenet.py --archive tiny-imagenet-200.zip
    python recipes/tiny_imagenet.py --archive tiny-imagenet-200.zip --temperature 6400 --randaugment

The full network (67,562,208 parameters) over the paper's 100 epochs: not run yet with this code.
The data set is prepared from the official zip, or the folder in it, once. The scores are of the
validation images, as the test images have no labels.

The paper's experiments have names; --list shows them.

--fast takes other defaults, for a small network on a CPU: ranks divided by 16, four epochs, Muon, a
temperature that rises, images that grow.

The folder given by --output receives model.keras, metrics.json, gallery.png, the servable and
TensorBoard's event files. An interrupted run resumes when the same command is given again.
"""

import os
from pathlib import Path

os.environ["KERAS_BACKEND"] = "tensorflow"


from coda_keras_export.package import package
from coda_keras_recipes import experiments

from coda_keras import CoDANet, training
from coda_keras.data import tiny_imagenet
from coda_keras.data.tf_augmentation import flip_and_crop, rand_augment

VALUES = {
    "preset": "xl_coda",
    "rescale": "squash",
    "temperature": 64.0,
    "rank_scale": 1.0,
    "initial": None,
    "epochs": 100,
    "batch_size": 128,
    "learning_rate": 1e-3,
    "schedule": "steps",
    "halve_every": 30,
    "randaugment": False,
    "fast": False,
    "optimizer": "adam",
    "start_temperature": None,
    "rise": 0.5,
    "grow": False,
    "regularisation": 0.0,
    "archive": None,
    "cache": None,
    "output": Path("runs/tiny_imagenet"),
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
    "precision": "mixed_bfloat16",
    "output": Path("runs/tiny_imagenet-fast"),
}
PADDING = 4
OPERATIONS, MAGNITUDE = 2, 9  # of RandAugment


@training.command
def main():
    args = parse()
    strategy = training.start(args)
    data = tiny_imagenet.load(args.data, args.archive, args.cache)
    data = data.limit(args.limit_train, args.limit_test)
    augment = [rand_augment(OPERATIONS, MAGNITUDE)] if args.randaugment else []
    augment.append(flip_and_crop(PADDING))

    def build():
        return CoDANet.from_preset(
            args.preset,
            classes=len(data.class_names),
            rescale=args.rescale,
            temperature=args.temperature,
            rank_scale=args.rank_scale,
            image_size=tiny_imagenet.SIZE,
            class_names=data.class_names,
            regularisation=args.regularisation,
        )

    def servable(net, folder, labels):
        return package(net, folder, "tiny_imagenet", labels=labels)

    net, history = training.train(args, strategy, build, data, augment)
    training.conclude(args, net, data, history, servable)


def parse(arguments=None):
    return experiments.parse(__doc__, "tiny_imagenet", VALUES, FAST, arguments)


if __name__ == "__main__":
    main()
