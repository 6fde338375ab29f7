"""The parts of `Settings`: frozen dataclasses, from whose fields the flags of recipes are made."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from coda_keras.models.presets import PRESETS
from coda_keras.models.pretrained import cards
from coda_keras.training.intervals import interval_text
from coda_keras.utils.command_line import (
    fraction,
    non_negative_int,
    non_negative_number,
    positive_int,
    positive_number,
)

# The precision that the machine decides; see `coda_keras.training.precision`.
AUTO = "auto"


def _settings_under(heading: str) -> Callable[..., Any]:
    """What makes the fields of a part, whose flags `--help` has under that heading."""

    def setting(default: Any, text: str, read: Callable[[str], Any] = str, **options: Any) -> Any:
        """A field with the help of its flag, what reads its text, options of `add_argument`."""
        metadata = {"heading": heading, "help": text, "type": read, **options}
        return field(default=default, metadata=metadata)

    return setting


_network, _training = _settings_under("network"), _settings_under("training")
_data, _machine = _settings_under("data and results"), _settings_under("machine")
_experiments = _settings_under("experiments of the paper")


@dataclass(frozen=True, kw_only=True)
class Network:
    """Which net is trained; None is what the preset has."""

    model: str = _network(
        "coda",
        "coda: the CoDA-Net of --preset; resnet50: the ResNet-50 to compare it with",
        choices=("coda", "resnet50"),
    )
    preset: str = _network(
        "s_coda",
        "sizes of the network, Table C.1; or a trained net to fine-tune, with a new last layer",
        choices=(*PRESETS, *cards()),
    )
    rescale: str | None = _network(None, "squash (SQ) or l2", choices=("squash", "l2"))
    temperature: float | None = _network(
        None, "T; higher aligns the dynamic weights more", positive_number
    )
    rank_scale: float | None = _network(None, "factor on all ranks, Fig. B.2", positive_number)
    initial: str | None = _network(
        None,
        "trained net whose weights this one begins with; its ranks may be smaller: a .keras file "
        f"or one of {', '.join(cards())}",
        metavar="MODEL",
    )


@dataclass(frozen=True, kw_only=True)
class Optimisation:
    """How long the net is trained, and by which optimiser."""

    epochs: int = _training(20, "passes over the training images", positive_int)
    batch_size: int = _training(32, "images per step, over all replicas", positive_int)
    fast: bool = _training(False, "other defaults, which train in less time; see above")
    optimizer: str = _training(
        "adam",
        "adam, as in the paper; muon: Muon on the matrices A and B, Adam on b; fixed_muon: the "
        "same with norms that stay, where the rate is the length of a step beside its matrix",
        choices=("adam", "muon", "fixed_muon"),
    )
    learning_rate: float = _training(1e-3, "base rate of the optimizer", positive_number)


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """What changes over the steps: the rate, the temperature of the loss, the size of images."""

    schedule: str = _training(
        "cosine",
        "steps: the base rate, halved every --halve-every epochs, as in the paper; cosine: linear "
        "warm-up over the first 5%% of all steps, then cosine to 0; trapezoid: the same warm-up, "
        "the base rate until 70%% of the steps, then linear to 0",
        choices=("steps", "cosine", "trapezoid"),
    )
    halve_every: int = _training(
        60, "epochs after which --schedule steps halves the rate", positive_int
    )
    warmup_epochs: int | None = _training(
        None,
        "epochs in which the rate rises in a line from --warmup-from to that of --schedule steps",
        positive_int,
    )
    warmup_from: float | None = _training(
        None, "rate of the first step of the warm-up", positive_number
    )
    start_temperature: float | None = _training(
        None,
        "temperature of the loss at first, rising to --temperature (default: that throughout)",
        positive_number,
    )
    rise: float = _training(
        0.5, "fraction of all steps in which the temperature rises", positive_number
    )
    grow: bool = _training(
        False,
        "images of half the size for 40%% of the epochs, of three quarters for 20%%, then whole",
    )


@dataclass(frozen=True, kw_only=True)
class Regularisation:
    """Augmentation and other means against overfitting, and the seed of all random numbers."""

    regularisation: float = _training(
        0.0,
        "lambda of eq. 10: adds lambda mean |W|, of the true class and of another one, to the loss",
        non_negative_number,
        metavar="LAMBDA",
    )
    grid_loss: float = _training(
        0.0,
        "adds lambda (1 - localisation on grids of 2x2 training images) to the loss: an "
        "experiment, since such a net has learned the metric",
        non_negative_number,
        metavar="LAMBDA",
    )
    alternate_flip: bool = _training(
        False, "flip every image in every second epoch, instead of by chance"
    )
    randaugment: bool = _training(False, "RandAugment, n=2, m=9 of 30, before crop")
    cutout: int | None = _training(
        None,
        "pixels a side of a grey square at a random place, after crop",
        positive_int,
        metavar="PIXELS",
    )
    seed: int = _training(0, "of initial values, order and augmentation", int)


@dataclass(frozen=True, kw_only=True)
class Distillation:
    """What a teacher has to say: `coda_keras.training.teacher`."""

    teacher: str | None = _training(
        None,
        "file of a teacher's logits, which `coda-keras train teacher` writes: the net learns "
        "those, under flips and the shifts that are in it",
        metavar="FILE",
    )
    label_weight: float = _training(
        0.0, "share of the labels in the targets, from 0 to 1, beside a teacher", fraction
    )
    teacher_targets: str = _training(
        "sigmoid",
        "what the teacher's logits become: sigmoid, a probability for each class by itself; "
        "softmax, probabilities that sum to 1",
        choices=("sigmoid", "softmax"),
    )
    teacher_scale: float = _training(
        1.0, "factor on the teacher's logits, before they become probabilities", positive_number
    )
    teacher_shift: float = _training(
        0.0, "subtracted from the scaled logits, before sigmoid", non_negative_number
    )
    map_teacher: str | None = _training(
        None,
        "trained net whose contribution maps the net learns too: a .keras file or one of "
        f"{', '.join(cards())}",
        metavar="MODEL",
    )
    map_weight: float = _training(
        1.0,
        "factor on 1 - cosine of the two maps, beside the loss of the logits",
        positive_number,
    )


@dataclass(frozen=True, kw_only=True)
class Data:
    """Where the images are, how many of them are taken, and where the results go."""

    data: str | None = _data(
        None, "folder of the data, or of prepared data sets; default: TensorFlow Datasets' own"
    )
    archive: str | Path | None = _data(  # noqa: RUF009
        None,
        "the zip that is distributed, or the folder in it, from which to prepare the data in "
        "--data; default: download it",
        Path,
    )
    cache: str | Path | None = _data(  # noqa: RUF009
        None,
        "folder for decoded images, where they do not fit into memory; later runs use them again",
        Path,
    )
    image_size: int | None = _data(None, "pixels a side to which images are scaled", positive_int)
    test_fraction: float = _data(
        0.2,
        "part of every class that is set aside to test on, where the folder is not divided",
        positive_number,
    )
    output: str | Path = _data(  # noqa: RUF009
        Path("runs/training"), "folder of this run; an interrupted run in it is resumed", Path
    )
    limit_train: int | None = _data(
        None, "use only the first N training images", positive_int, metavar="N"
    )
    limit_test: int | None = _data(
        None, "use only the first N test images", positive_int, metavar="N"
    )
    hold_out: int | None = _data(
        None,
        "test on the last N training images, which the net is not trained on, in place of the test "
        "images: for choices between settings",
        positive_int,
        metavar="N",
    )


@dataclass(frozen=True, kw_only=True)
class Run:
    """Devices and precision of the training, and when its state is saved."""

    precision: str = _machine(
        "float32",
        "of activations; auto: mixed_bfloat16 where the devices multiply bfloat16 faster, else "
        "float32",
        choices=("float32", "mixed_bfloat16", AUTO),
    )
    replicas: int | None = _machine(
        None,
        "devices to train on: GPUs where there are any (default: all of them), else logical CPUs "
        "(default: 1)",
        positive_int,
    )
    accumulate: int = _machine(
        1,
        "parts into which the images of a step are split on every device, one after the other: "
        "less memory, the same result",
        positive_int,
        metavar="N",
    )
    deterministic: bool = _machine(
        False, "the same bits in every run on the same machine, which takes longer"
    )
    checkpoint_every: str = _machine(
        "15min",
        "checkpoints within an epoch: steps such as 500, or a time such as 90s, 20min or 2h; there "
        "is one after every epoch",
        interval_text,
        metavar="INTERVAL",
    )
    keep_checkpoints: bool = _machine(
        False, "keep the net of every epoch, as checkpoints/001.keras and so on"
    )
    ray: int | None = _machine(
        None,
        "workers that a Ray cluster starts, each on a GPU or, without GPUs, a core: the cluster of "
        "RAY_ADDRESS, or of this machine; its machines share --output",
        positive_int,
        metavar="N",
    )
    max_failures: int = _machine(
        0,
        "with --ray: how often all workers are started again where one is lost, from the last "
        "checkpoint (default: 0)",
        non_negative_int,
        metavar="N",
    )
    experiment: str | None = _experiments(None, "take its settings for defaults", metavar="NAME")


PARTS = (Network, Optimisation, Schedule, Regularisation, Distillation, Data, Run)
