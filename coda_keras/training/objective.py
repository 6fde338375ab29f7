"""What a training minimises, and at which rate: what the flags say about steps and epochs."""

import argparse

import keras
import numpy as np

from coda_keras.data.images import ImageData
from coda_keras.losses import OneVsAllCrossentropy
from coda_keras.models.coda_net import CoDANet
from coda_keras.training import folder
from coda_keras.training.annealing import AnnealedCrossentropy, growing_sizes
from coda_keras.training.checkpoints import Progress
from coda_keras.training.optimizers import DAUMuon
from coda_keras.training.schedules import Trapezoid, Warmup

CONSTANT_UNTIL = 0.7  # fraction of the steps, of the schedule trapezoid


def learning_rate(
    args: argparse.Namespace, steps_per_epoch: int
) -> keras.optimizers.schedules.LearningRateSchedule:
    """The learning-rate schedule that the flags ask for, a function of the step."""
    if args.schedule == "steps":
        halved = keras.optimizers.schedules.ExponentialDecay(
            args.learning_rate, args.halve_every * steps_per_epoch, 0.5, staircase=True
        )
        epochs = getattr(args, "warmup_epochs", 0)
        if not epochs:
            return halved
        return Warmup(halved, args.warmup_from, epochs * steps_per_epoch)
    total = args.epochs * steps_per_epoch
    warmup = max(1, total // 20)
    if args.schedule == "trapezoid":
        # At least a step at the base rate, and one that decays.
        decay = min(max(warmup, round(CONSTANT_UNTIL * total)), total - 1)
        return Trapezoid(args.learning_rate, min(warmup, decay), decay, total)
    return keras.optimizers.schedules.CosineDecay(
        0.0, total - warmup, warmup_target=args.learning_rate, warmup_steps=warmup
    )


def optimizer(args: argparse.Namespace, steps_per_epoch: int) -> keras.optimizers.Optimizer:
    """The optimiser that the flags ask for, with its learning rate."""
    rate = learning_rate(args, steps_per_epoch)
    muon = getattr(args, "optimizer", "adam") == "muon"
    return (DAUMuon if muon else keras.optimizers.Adam)(rate)


def image_sizes(args: argparse.Namespace, data: ImageData) -> list[int] | None:
    """The size of the images in every epoch; None for that of the data."""
    if not getattr(args, "grow", False):
        return None
    return growing_sizes(data.train_images.shape[1], args.epochs)


def loss(
    args: argparse.Namespace, net: keras.Model, steps_per_epoch: int, data: ImageData
) -> keras.losses.Loss:
    """The loss that the flags ask for; its temperature follows the net's optimiser."""
    sizes = image_sizes(args, data)
    start = getattr(args, "start_temperature", None)
    if start is None and sizes is None:
        return OneVsAllCrossentropy()
    sizes = sizes or [1]
    areas = [
        (epoch * steps_per_epoch, (size / sizes[-1]) ** 2)
        for epoch, size in enumerate(sizes)
        if size not in sizes[:epoch]
    ]
    return AnnealedCrossentropy(
        net.temperature,
        net.temperature if start is None else start,
        0 if start is None else max(1, round(args.rise * args.epochs * steps_per_epoch)),
        net.logit_bias,
        areas,
        net.optimizer.iterations,
    )


def check_epochs(
    args: argparse.Namespace,
    earlier: int,
    net: CoDANet,
    steps_per_epoch: int,
    data: ImageData,
    done: int,
) -> None:
    """Checks that a run may get more epochs: rate and temperature must not jump.

    Args:
        args: the parsed flags.
        earlier: int, `--epochs` so far.
        net: the net, with its optimiser.
        steps_per_epoch: int.
        data: `ImageData`.
        done: int, steps that are done.

    Raises:
        FileExistsError: if the rate or the temperature would change at once.
    """
    now = []
    for epochs in (earlier, args.epochs):
        with_epochs = argparse.Namespace(**{**vars(args), "epochs": epochs})
        rate = learning_rate(with_epochs, steps_per_epoch)(done)
        made = loss(with_epochs, net, steps_per_epoch, data)
        factor = made.factor(np.float32(done)) if isinstance(made, AnnealedCrossentropy) else 1.0
        now.append((float(rate), float(factor)))
    if not np.allclose(*now):
        raise FileExistsError(
            f"{args.output} holds a run of --epochs {earlier}, whose learning rate or temperature "
            f"would jump with {args.epochs}. Epochs can be added while both stay as they are: "
            "before --schedule trapezoid goes down, or with --schedule steps. Repeat the command, "
            "or choose another --output."
        )


def check_resumed(
    args: argparse.Namespace,
    net: CoDANet,
    steps_per_epoch: int,
    data: ImageData,
    progress: Progress,
) -> None:
    """Checks that a run of other `--epochs` may go on; see `check_epochs`."""
    earlier = folder.earlier_epochs(args.output)
    if earlier and earlier != args.epochs:
        done = progress.epoch * steps_per_epoch + progress.step
        check_epochs(args, earlier, net, steps_per_epoch, data, done)
