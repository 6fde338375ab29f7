"""The ResNet-56 (He et al., 2016) on CIFAR-10, to compare with: Fig. B.4b of the paper.

    coda-keras train resnet56

Trained like the CoDA-Nets, one-vs-all; it has neither ranks nor a temperature, and no explanation
of its own (857,082 parameters). All 200 epochs: not run yet with this code.

    coda-keras train resnet56 --learning-rate 2e-3 --epochs 4

is enough to see what it looks at.

The folder given by --output receives model.keras, metrics.json, gallery.png with Input×Gradient,
and TensorBoard's event files. An interrupted run resumes when the same command is given again.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from coda_keras_recipes import cifar10, experiments, training_run

from coda_keras.training import Settings
from coda_keras.utils.command_line import command

if TYPE_CHECKING:
    import keras

    from coda_keras.data.images import ImageData

VALUES = {
    "epochs": 200,
    "batch_size": 128,
    "learning_rate": 1e-3,
    "schedule": "cosine",
    "output": Path("runs/resnet56"),
    **training_run.defaults("halve_every", "randaugment"),
}


@command
def main(arguments: Sequence[str] | None = None, prog: str | None = None) -> None:
    settings = parse(arguments, prog)
    cifar10.check_data(settings)
    training_run.run(settings, build, cifar10.load, cifar10.AUGMENT)


def build(settings: Settings, data: "ImageData") -> "keras.Model":
    from coda_keras.models.resnet import resnet56

    return resnet56(classes=len(data.class_names), image_size=data.test_images.shape[1:3])


def parse(arguments: Sequence[str] | None = None, prog: str | None = None) -> Settings:
    """The settings of a command line; None for that of this process."""
    return experiments.parse(__doc__, "resnet56", VALUES, None, arguments, prog)


if __name__ == "__main__":
    main()
