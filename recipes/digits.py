"""A small CoDA-Net on scikit-learn's handwritten digits: the whole way in two minutes.

The same training code as recipes/cifar10.py, on 1,797 digits that ship with scikit-learn,
enlarged to 16x16 pixels. The last 360 (other writers than most of the rest) are the test set.

    python recipes/digits.py
"""

from pathlib import Path

import experiment
import flags
import numpy as np
import report

from coda_keras.tf.augmentation import flip_and_crop
from coda_keras.tf.data import ImageData

TEST_IMAGES = 360


@experiment.command
def main():
    parser = flags.parser(
        __doc__,
        **{
            **flags.DEFAULTS,
            "temperature": 100.0,
            "rank_scale": 0.125,
            "schedule": "cosine",
        },
        epochs=20,
        batch_size=32,
        learning_rate=4e-3,
        output=Path("runs/digits"),
    )
    args = parser.parse_args()
    run = experiment.open_run(args)
    strategy = experiment.configure(args)
    data = load_digits().limit(args.limit_train, args.limit_test)

    def build():
        return experiment.coda_net(args, len(data.class_names), image_size=16)

    augment = [flip_and_crop(padding=1, flip=False)]
    net, history = experiment.train(args, run, strategy, build, data, augment)
    report.conclude(args, run, net, data, history, name="digits")


def load_digits():
    """Scikit-learn's digits as RGB images of 16x16 pixels, white on black."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    grey = np.round(digits.images * (255 / 16)).astype("uint8")
    images = np.repeat(grey.repeat(2, axis=1).repeat(2, axis=2)[..., None], 3, axis=-1)
    labels = digits.target.astype("int32")
    return ImageData(
        images[:-TEST_IMAGES],
        labels[:-TEST_IMAGES],
        images[-TEST_IMAGES:],
        labels[-TEST_IMAGES:],
        [str(digit) for digit in range(10)],
    )


if __name__ == "__main__":
    main()
