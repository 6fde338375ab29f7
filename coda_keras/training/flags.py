"""The flags that training recipes share."""

import argparse
import math
from pathlib import Path
from typing import Any

from coda_keras.models.presets import PRESETS
from coda_keras.models.pretrained import cards
from coda_keras.training.watch import interval
from coda_keras.utils.command_line import Parser

# What a recipe need not repeat.
DEFAULTS = {
    "seed": 0,
    "data": None,
    "limit_train": None,
    "limit_test": None,
    "precision": "float32",
    "replicas": None,
    "accumulate": 1,
    "deterministic": False,
    "checkpoint_every": "15min",
    "keep_checkpoints": False,
}


def parser(description: str, **defaults: Any) -> argparse.ArgumentParser:
    """The flags of a recipe: those that it has a value for, and those of `DEFAULTS`.

    Args:
        description: the text of `--help`.
        **defaults: the recipe's own values, which the flags default to.

    Returns:
        An `argparse.ArgumentParser`.

    Raises:
        ValueError: if there is no flag for a value.

    Example:

    >>> parser("A recipe.", epochs=3, learning_rate=0.1).parse_args(["--epochs", "5"]).epochs
    5
    """
    defaults = {**DEFAULTS, **defaults}
    flags = Parser(description=description)
    known = set()

    def add(group, name, text, **options):
        key = name.strip("-").replace("-", "_")
        known.add(key)
        if key in defaults:
            default = defaults[key]
            shown = "" if default in (None, False) else f" (default: {default})"
            group.add_argument(name, default=default, help=text + shown, **options)

    net = flags.add_argument_group("network")
    add(
        net,
        "--model",
        "coda: the CoDA-Net of --preset; resnet50: the ResNet-50 to compare it with",
        choices=("coda", "resnet50"),
    )
    add(
        net,
        "--preset",
        "sizes of the network, Table C.1; or a trained net to fine-tune, with a new last layer",
        choices=[*PRESETS, *cards()],
    )
    add(net, "--rescale", "squash (SQ) or l2", choices=("squash", "l2"))
    add(net, "--temperature", "T; higher aligns the dynamic weights more", type=_positive)
    add(net, "--rank-scale", "factor on all ranks, Fig. B.2", type=_positive)
    add(
        net,
        "--initial",
        "trained net whose weights this one begins with, of the same or smaller ranks: a .keras "
        f"file or one of {', '.join(cards())}",
        metavar="MODEL",
    )

    fit = flags.add_argument_group("training")
    add(fit, "--epochs", "passes over the training images", type=positive_int)
    add(fit, "--batch-size", "images a step, over all replicas", type=positive_int)
    add(fit, "--fast", "other defaults, which train in less time; see above", action="store_true")
    add(
        fit,
        "--optimizer",
        "adam, as in the paper; muon: Muon on the matrices A and B, Adam on b",
        choices=("adam", "muon"),
    )
    add(fit, "--learning-rate", "base rate of the optimizer", type=_positive)
    add(
        fit,
        "--schedule",
        "steps: the base rate, halved every --halve-every epochs, as in the paper; cosine: linear "
        "warm-up over the first 5%% of all steps, then cosine to 0; trapezoid: the same warm-up, "
        "the base rate until 70%% of the steps, then linear to 0",
        choices=("steps", "cosine", "trapezoid"),
    )
    add(
        fit,
        "--halve-every",
        "epochs after which --schedule steps halves the rate",
        type=positive_int,
    )
    add(
        fit,
        "--warmup-epochs",
        "epochs in which the rate rises in a line from --warmup-from to that of --schedule steps",
        type=positive_int,
    )
    add(fit, "--warmup-from", "rate of the first step of the warm-up", type=_positive)
    add(
        fit,
        "--start-temperature",
        "temperature of the loss at first, rising to --temperature (default: that throughout)",
        type=_positive,
    )
    add(fit, "--rise", "fraction of all steps in which the temperature rises", type=_positive)
    add(
        fit,
        "--grow",
        "images of half the size for 40%% of the epochs, of three quarters for 20%%, then whole",
        action="store_true",
    )
    add(
        fit,
        "--regularisation",
        "lambda of eq. 10: adds lambda mean |W|, of the true class and of another one, to the loss",
        type=_non_negative,
        metavar="LAMBDA",
    )
    add(
        fit,
        "--alternate-flip",
        "flip every image in every second epoch, instead of by chance",
        action="store_true",
    )
    add(fit, "--randaugment", "RandAugment, n=2, m=9 of 30, before crop", action="store_true")
    add(
        fit,
        "--cutout",
        "pixels a side of a grey square at a random place, after crop",
        type=positive_int,
        metavar="PIXELS",
    )
    add(fit, "--seed", "of initial values, order and augmentation", type=int)

    data = flags.add_argument_group("data and results")
    add(
        data,
        "--data",
        "folder of the data, or of prepared data sets; default: TensorFlow Datasets' own",
    )
    add(
        data,
        "--archive",
        "the zip that is distributed, or the folder in it, from which to prepare the data in "
        "--data; default: download it",
        type=Path,
    )
    add(
        data,
        "--cache",
        "folder for decoded images, where they do not fit into memory; later runs use them again",
        type=Path,
    )
    add(data, "--image-size", "pixels a side to which images are scaled", type=positive_int)
    add(
        data,
        "--test-fraction",
        "part of every class that is set aside to test on, where the folder is not divided",
        type=_positive,
    )
    add(data, "--output", "folder of this run; an interrupted run in it is resumed", type=Path)
    first = {"type": positive_int, "metavar": "N"}
    add(data, "--limit-train", "use only the first N training images", **first)
    add(data, "--limit-test", "use only the first N test images", **first)

    machine = flags.add_argument_group("machine")
    add(machine, "--precision", "of activations", choices=("float32", "mixed_bfloat16"))
    add(
        machine,
        "--replicas",
        "devices to train on: GPUs where there are any (default: all of them), else logical CPUs "
        "(default: 1)",
        type=positive_int,
    )
    add(
        machine,
        "--accumulate",
        "parts into which the images of a step are split on every device, one after the other: "
        "less memory, the same result",
        type=positive_int,
        metavar="N",
    )
    add(
        machine,
        "--deterministic",
        "the same bits in every run on the same machine, which takes longer",
        action="store_true",
    )
    add(
        machine,
        "--checkpoint-every",
        "checkpoints within an epoch: steps such as 500, or a time such as 90s, 20min or 2h; there "
        "is one after every epoch",
        type=_interval,
        metavar="INTERVAL",
    )
    add(
        machine,
        "--keep-checkpoints",
        "keep the net of every epoch, as checkpoints/001.keras and so on",
        action="store_true",
    )
    unknown = sorted(defaults.keys() - known)
    if unknown:
        raise ValueError(f"There is no flag for {', '.join(unknown)}. Expected {sorted(known)}.")
    return flags


def positive_int(text: str) -> int:
    """Reads a positive whole number; for the `type` of an argument."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive whole number")
    return int(text)


def _positive(text):
    value = _number(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return value


def _non_negative(text):
    value = _number(text)
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 0 up")
    return value


def _interval(text):
    try:
        interval(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


def _number(text):
    try:
        return float(text)
    except ValueError:
        return math.nan
