"""The flags that training recipes share."""

import argparse
from pathlib import Path

from coda_keras import PRESETS


def parser(description, baselines=(), **defaults):
    """The flags of a recipe; `defaults` are the recipe's own values for them.

    Args:
        description: the text of `--help`.
        baselines: names that `--preset` takes besides those of Table C.1.
        **defaults: a value for every flag.
    """
    flags = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )

    def add(group, name, text, **options):
        key = name.strip("-").replace("-", "_")
        default = defaults[key]
        shown = "" if default in (None, False) else f" (default: {default})"
        group.add_argument(name, default=default, help=text + shown, **options)

    net = flags.add_argument_group("network")
    add(net, "--preset", "sizes of the network, Table C.1", choices=[*PRESETS, *baselines])
    add(net, "--rescale", "squash (SQ) or l2", choices=("squash", "l2"))
    add(net, "--temperature", "T; higher aligns the dynamic weights more", type=_positive)
    add(net, "--rank-scale", "factor on all ranks, Fig. B.2", type=_positive)

    fit = flags.add_argument_group("training")
    add(fit, "--epochs", "passes over the training images", type=count)
    add(fit, "--batch-size", "images a step, over all replicas", type=count)
    add(fit, "--learning-rate", "base rate of Adam", type=_positive)
    add(
        fit,
        "--schedule",
        "steps: the base rate, halved every --halve-every epochs, as in the paper; cosine: linear "
        "warm-up over the first 5%% of all steps, then cosine to 0",
        choices=("steps", "cosine"),
    )
    add(fit, "--halve-every", "epochs after which --schedule steps halves the rate", type=count)
    add(fit, "--randaugment", "RandAugment, n=2, m=9 of 30, before crop", action="store_true")
    add(fit, "--seed", "of initial values, order and augmentation", type=int)

    data = flags.add_argument_group("data and results")
    add(data, "--data", "folder of prepared data sets; default: TensorFlow Datasets' own")
    add(data, "--output", "folder of this run; an interrupted run in it is resumed", type=Path)
    add(data, "--limit-train", "use only the first N training images", type=count, metavar="N")
    add(data, "--limit-test", "use only the first N test images", type=count, metavar="N")

    machine = flags.add_argument_group("machine")
    add(machine, "--precision", "of activations", choices=("float32", "mixed_bfloat16"))
    add(
        machine,
        "--replicas",
        "devices to train on: GPUs where there are any (default: all of them), else logical CPUs "
        "(default: 1)",
        type=count,
    )
    return flags


DEFAULTS = {
    "preset": "s_coda",
    "rescale": "squash",
    "temperature": 1000.0,
    "rank_scale": 1.0,
    "schedule": "steps",
    "halve_every": 60,
    "randaugment": False,
    "seed": 0,
    "data": None,
    "limit_train": None,
    "limit_test": None,
    "precision": "float32",
    "replicas": None,
}


def count(text):
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive whole number")
    return value


def _positive(text):
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return value
