"""The ResNet-56 (He et al., 2016) on CIFAR-10, to compare with: Fig. B.4b of the paper.

    python recipes/resnet56.py

Trained like the CoDA-Nets, one-vs-all; it has neither ranks nor a temperature, and no explanation
of its own (857,082 parameters). All 200 epochs: not run yet with this code.

    python recipes/resnet56.py --learning-rate 2e-3 --epochs 4

72.0% of the test images, on JPEG-compressed copies of CIFAR-10: enough to see what it looks at.

The folder given by --output receives model.keras, metrics.json, gallery.png with Input×Gradient,
and TensorBoard's event files. An interrupted run resumes when the same command is given again.
"""

import os
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "tensorflow")


from coda_keras_recipes import experiments

from coda_keras import training
from coda_keras.models.resnet import resnet56

VALUES = {
    "epochs": 200,
    "batch_size": 128,
    "learning_rate": 1e-3,
    "schedule": "cosine",
    "halve_every": 60,
    "randaugment": False,
    "output": Path("runs/resnet56"),
}
PADDING = 4
OPERATIONS, MAGNITUDE = 2, 9  # of RandAugment


@training.command
def main():
    args = parse()
    strategy = training.start(args)
    data = training.load("cifar10", args.data).limit(args.limit_train, args.limit_test)
    augment = [training.rand_augment(OPERATIONS, MAGNITUDE)] if args.randaugment else []
    augment.append(training.flip_and_crop(PADDING))

    def build():
        return resnet56(classes=len(data.class_names), image_size=32)

    net, history = training.train(args, strategy, build, data, augment)
    training.conclude(args, net, data, history)


def parse(arguments=None):
    return experiments.parse(__doc__, "resnet56", VALUES, None, arguments)


if __name__ == "__main__":
    main()
