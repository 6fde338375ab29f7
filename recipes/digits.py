"""A small CoDA-Net on scikit-learn's handwritten digits: the whole way in minutes.

    python recipes/digits.py

The same training as recipes/cifar10.py, on 1,797 digits that ship with scikit-learn, enlarged to
16x16 pixels. The last 360 (other writers than most of the rest) are the test set: 97.8% of them,
after three minutes on two cores that were not idle.
"""

import os
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "tensorflow")


from coda_keras import CoDANet, training
from coda_keras.data.images import load_digits

VALUES = {
    "preset": "s_coda",
    "rescale": "squash",
    "temperature": 100.0,
    "rank_scale": 0.125,
    "epochs": 20,
    "batch_size": 32,
    "learning_rate": 4e-3,
    "schedule": "cosine",
    "halve_every": 60,
    "optimizer": "adam",
    "start_temperature": None,
    "rise": 0.5,
    "grow": False,
    "regularisation": 0.0,
    "output": Path("runs/digits"),
}
PADDING = 1


@training.command
def main():
    args = training.parser(__doc__, **VALUES).parse_args()
    strategy = training.start(args)
    data = load_digits().limit(args.limit_train, args.limit_test)
    # A mirrored digit is none.
    augment = [training.flip_and_crop(PADDING, flip=False)]

    def build():
        return CoDANet.from_preset(
            args.preset,
            classes=len(data.class_names),
            rescale=args.rescale,
            temperature=args.temperature,
            rank_scale=args.rank_scale,
            image_size=16,
            class_names=data.class_names,
            regularisation=args.regularisation,
        )

    def servable(net, folder, labels):
        # Needs TensorFlow, which other backends train without.
        from coda_keras_export.package import package

        return package(net, folder, "digits", labels=labels)

    net, history = training.train(args, strategy, build, data, augment)
    training.conclude(args, net, data, history, servable)


if __name__ == "__main__":
    main()
