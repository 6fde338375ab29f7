"""S-CoDA-SQ on CIFAR-10, as in Section 4.1 and supplement C.1 of the paper.

Adam with base rate 2.5e-4, halved every 60 of 200 epochs, batch 16, random horizontal flip and
crop from 4 pixels of padding, one-vs-all binary cross-entropy, T = 1000:

    python recipes/cifar10.py

A small network for two CPU cores (1,076,984 parameters):

    python recipes/cifar10.py --rank-scale 0.125 --batch-size 64 --learning-rate 2e-3 \\
        --schedule cosine --epochs 14 --output runs/cifar10-small

The ResNet-56 to compare with (He et al., 2016), which has neither ranks nor a temperature:

    python recipes/cifar10.py --preset resnet56 --batch-size 128 --learning-rate 1e-3 \\
        --schedule cosine --output runs/resnet56

The folder given by --output receives model.keras, metrics.json, gallery.png, the servable and
TensorBoard's event files (tensorboard --logdir runs). An interrupted run resumes when the same
command is given again.
"""

from pathlib import Path

import experiment
import flags
import report

from coda_keras.baselines.resnet import resnet56
from coda_keras.tf.augmentation import flip_and_crop, rand_augment
from coda_keras.tf.data import load_tfds


@experiment.command
def main():
    parser = flags.parser(
        __doc__,
        baselines=["resnet56"],
        **flags.DEFAULTS,
        epochs=200,
        batch_size=16,
        learning_rate=2.5e-4,
        output=Path("runs/cifar10"),
    )
    args = parser.parse_args()
    run = experiment.open_run(args)
    strategy = experiment.configure(args)
    data = load_tfds("cifar10", args.data).limit(args.limit_train, args.limit_test)
    augment = [rand_augment(operations=2, magnitude=9)] if args.randaugment else []
    augment.append(flip_and_crop(padding=4))

    def build():
        if args.preset == "resnet56":
            return resnet56(classes=len(data.class_names), image_size=32)
        return experiment.coda_net(args, len(data.class_names), image_size=32)

    net, history = experiment.train(args, run, strategy, build, data, augment)
    report.conclude(args, run, net, data, history, name="coda")


if __name__ == "__main__":
    main()
