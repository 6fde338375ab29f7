"""A teacher for the CIFAR-10 recipe: a fast convolutional net, and its logits for every image.

    coda-keras train teacher

trains the net of Jordan's airbench (2024), without an explanation of its own: frozen whitening,
three groups of convolutions by Muon at fixed norms, labels smoothed by 0.2, a rate that falls in a
line. In a clone, `python recipes/teacher.py` is the same. A CoDANet learns its logits by

    coda-keras train cifar10 --teacher runs/teacher/teacher.npz

The folder given by --output receives model.keras, metrics.json with the accuracy on test images,
teacher.json with that of six views averaged too, and teacher.npz: the logits of the training
images, flipped or not, shifted by up to --shifts pixels. To choose between settings, hold out
images that neither teacher nor student has seen: --hold-out 5000 for both. There are logits of
these images too, for a last student that learns all. An interrupted run resumes when the same
command is given again.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from coda_keras_recipes import cifar10, training_run

import coda_keras
from coda_keras.training import Settings, SettingsParser, run_folder
from coda_keras.utils.command_line import command, positive_int

if TYPE_CHECKING:
    import keras
    import numpy as np

    from coda_keras.backend.types import Tensor
    from coda_keras.data.batches import Augment
    from coda_keras.data.images import ImageData

VALUES = {
    "epochs": 12,
    "batch_size": 2000,
    "learning_rate": 0.24,
    "output": Path("runs/teacher"),
    **training_run.defaults("hold_out"),
}
SMOOTHING = 0.2
MOMENTUM = 0.6
# Of biases and of the last layer, beside the rate of the convolutions: 0.02 at first.
ADAM_RATE = 1 / 12
WHITENING_IMAGES = 5000


@command
def main(arguments: Sequence[str] | None = None, prog: str | None = None) -> None:
    settings, shifts = parse(arguments, prog)
    if (settings.folder / "metrics.json").exists() and not answers(settings).exists():
        run_folder.check_same(settings)
        finish(settings, coda_keras.load_model(settings.folder / "model.keras"), shifts)
        return
    more = ["--shifts", str(shifts)]
    trained = training_run.run(settings, build, load, augment, more=more)
    # One of several workers writes.
    if trained.metrics is not None:
        finish(settings, trained.net, shifts)


def parse(arguments: Sequence[str] | None = None, prog: str | None = None) -> tuple[Settings, int]:
    """The settings of a command line, and the largest shift of the stored views."""
    parser = SettingsParser(__doc__, prog, **VALUES)
    parser.groups["data and results"].add_argument(
        "--shifts",
        type=positive_int,
        default=1,
        help="largest shift of the stored views, in pixels (default: 1)",
    )
    values = vars(parser.parse_args(arguments))
    shifts = values.pop("shifts")
    return Settings(**values, alternate_flip=True, names=tuple(parser.names)), shifts


def load(settings: Settings) -> "ImageData":
    """CIFAR-10, or what `--data` names."""
    return cifar10.load(settings)


def build(settings: Settings, data: "ImageData") -> "keras.Model":
    """The compiled net: Muon at fixed norms, a rate that falls in a line, smoothed labels."""
    import keras

    from coda_keras.data.images import steps_per_epoch
    from coda_keras.models.airbench import airbench, whiten
    from coda_keras.training.optimizers import DAUMuon

    net = airbench(len(data.class_names), image_size=data.train_images.shape[1:3])
    whiten(net, data.train_images[:WHITENING_IMAGES])
    steps = settings.epochs * steps_per_epoch(len(data.train_images), settings.batch_size)
    rate = keras.optimizers.schedules.PolynomialDecay(settings.learning_rate, steps, 0.0)
    optimizer = DAUMuon(rate, MOMENTUM, fixed_norms=True, adam_rate=ADAM_RATE)
    net.compile(optimizer, smoothed_crossentropy)
    return net


def smoothed_crossentropy(labels: "Tensor", logits: "Tensor") -> "Tensor":
    """The cross-entropy of a softmax, for labels of which a fifth is spread over all classes."""
    import keras

    targets = keras.ops.one_hot(keras.ops.reshape(labels, (-1,)), logits.shape[-1])
    return keras.losses.categorical_crossentropy(
        targets, logits, from_logits=True, label_smoothing=SMOOTHING
    )


def augment(settings: Settings) -> "list[Augment]":
    """Crops by up to two pixels, beside flips in every second epoch; borders are reflections."""
    from coda_keras.data import augmentation

    return [augmentation.flip_and_crop(2, flip=False, mode="reflect")]


def answers(settings: Settings) -> Path:
    """The file of the logits."""
    return settings.folder / "teacher.npz"


def finish(settings: Settings, net: "keras.Model", shifts: int) -> None:
    """Scores the net with six views, and stores its logits for all training images."""
    import numpy as np

    from coda_keras.training import teacher
    from coda_keras.utils.files import read_json, write_json

    metrics = read_json(settings.folder / "metrics.json")
    everything = load(settings)
    data = everything.hold_out(settings.hold_out) if settings.hold_out else everything
    data = data.limit(None, settings.limit_test)
    logits = six_view_logits(net, data.test_images)
    accuracy = float(np.mean(logits.argmax(axis=-1) == data.test_labels))
    print(f"with six views      {accuracy:.4f} on {len(logits)} images", flush=True)
    started = time.perf_counter()
    shown = everything.limit(settings.limit_train)
    views = teacher.view_logits(net, shown.train_images, shifts)
    seconds = time.perf_counter() - started
    del metrics["history"]
    scores = {"six_view_accuracy": accuracy, "shifts": shifts, "seconds_of_logits": seconds}
    write_json(settings.folder / "teacher.json", {**metrics, **scores})
    # Last: these make the run a finished one.
    teacher.save(teacher.Teacher(views, shown.train_labels), answers(settings))
    print(f"logits              {answers(settings)}, {seconds:.0f} s")


def six_view_logits(net: "keras.Model", images: "np.ndarray") -> "np.ndarray":
    """Averages over the image, weighted by a half, and two shifts of it by a pixel along the
    diagonal, each of them as it is and flipped.
    """
    from coda_keras.training.teacher import logits_of_view

    def mirrored(row: int, column: int) -> "np.ndarray":
        return sum(logits_of_view(net, images, flip, row, column, 1) for flip in (0, 1)) / 2

    return mirrored(1, 1) / 2 + (mirrored(0, 0) + mirrored(2, 2)) / 4


if __name__ == "__main__":
    main()
