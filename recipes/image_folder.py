"""A net of one's own photographs: trains on a folder of images, explains, and packages.

    python recipes/image_folder.py --data FOLDER

FOLDER holds a folder of images for every class, FOLDER/cats and FOLDER/dogs, in any formats and
sizes. A fifth of every class is set aside to test on, the same in every run; or FOLDER is divided
already, into train/<class> and val/<class>. Images are turned upright, cropped to squares and
scaled to --image-size.

Training begins with the net for small photographs that comes with the package, and a new last
layer. --preset s_coda --rank-scale 0.125 --start-temperature 10 --learning-rate 3e-3 begins from
nothing, with a net of the same size.

The folder given by --output receives model.keras, metrics.json, gallery.png, explorer.html, the
servable, a test image of each class and TensorBoard's event files. An interrupted run resumes when
the same command is given again.
"""

import os
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "tensorflow")


from coda_keras import CoDANet, training
from coda_keras.data import image_folder

VALUES = {
    "preset": "s_coda_cifar10",
    "rescale": None,
    "temperature": None,
    "rank_scale": None,
    "image_size": 64,
    "test_fraction": 0.2,
    "epochs": 20,
    "batch_size": 32,
    "optimizer": "muon",
    "learning_rate": 1e-3,
    "schedule": "cosine",
    "halve_every": 60,
    "start_temperature": None,
    "rise": 0.5,
    "grow": False,
    "randaugment": False,
    "cache": None,
    "output": Path("runs/image_folder"),
}
PADDING = 0.125  # of the image size
OPERATIONS, MAGNITUDE = 2, 9  # of RandAugment


@training.command
def main():
    parser = training.parser(__doc__, **VALUES)
    args = parser.parse_args()
    if args.data is None:
        parser.error("--data FOLDER is needed: a folder with a folder of images for every class")
    strategy = training.start(args)
    photographs = image_folder.scan(args.data, args.test_fraction)
    print(*photographs.notes, sep="\n")
    data = photographs.load(args.image_size, cache=args.cache)
    data = data.limit(args.limit_train, args.limit_test)
    augment = [training.rand_augment(OPERATIONS, MAGNITUDE)] if args.randaugment else []
    augment.append(training.flip_and_crop(round(PADDING * args.image_size)))

    def build():
        return CoDANet.from_preset(
            args.preset,
            classes=len(data.class_names),
            rescale=args.rescale,
            temperature=args.temperature,
            rank_scale=args.rank_scale,
            image_size=args.image_size,
            class_names=data.class_names,
        )

    def servable(net, folder, labels):
        # Needs TensorFlow, which other backends train without.
        from coda_keras_export.package import package

        return package(net, folder, "image_folder", labels=labels)

    net, history = training.train(args, strategy, build, data, augment)
    training.conclude(args, net, data, history, servable)


if __name__ == "__main__":
    main()
