"""What a training minimises, and at which rate: what the settings say about steps and epochs."""

import math
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from coda_keras import backend
from coda_keras.data.images import ImageData
from coda_keras.losses import OneVsAllCrossentropy
from coda_keras.models.coda_net import CoDANet
from coda_keras.training import run_folder
from coda_keras.training.annealing import AnnealedCrossentropy, growing_sizes
from coda_keras.training.checkpoints import Progress
from coda_keras.training.optimizers import DAUMuon
from coda_keras.training.schedules import Trapezoid, Warmup
from coda_keras.training.settings import Settings

CONSTANT_UNTIL = 0.7  # fraction of the steps, of the schedule trapezoid
# Of b beside matrices of fixed norms, whose rates are about 20 times those of Adam.
FIXED_ADAM_RATE = 0.05


def learning_rate(
    settings: Settings, steps_per_epoch: int
) -> keras.optimizers.schedules.LearningRateSchedule:
    """The learning-rate schedule that the settings ask for, a function of the step."""
    if settings.schedule == "steps":
        halved = keras.optimizers.schedules.ExponentialDecay(
            settings.learning_rate, settings.halve_every * steps_per_epoch, 0.5, staircase=True
        )
        if not settings.warmup_epochs:
            return halved
        first = settings.warmup_from or 0.0
        return Warmup(halved, first, settings.warmup_epochs * steps_per_epoch)
    total = settings.epochs * steps_per_epoch
    warmup = max(1, total // 20)
    if settings.schedule == "trapezoid":
        # At least a step at the base rate, and one that decays.
        decay = min(max(warmup, round(CONSTANT_UNTIL * total)), total - 1)
        return Trapezoid(settings.learning_rate, min(warmup, decay), decay, total)
    return keras.optimizers.schedules.CosineDecay(
        0.0, max(1, total - warmup), warmup_target=settings.learning_rate, warmup_steps=warmup
    )


def optimizer(settings: Settings, steps_per_epoch: int) -> keras.optimizers.Optimizer:
    """The optimiser that the settings ask for, with its learning rate."""
    rate = learning_rate(settings, steps_per_epoch)
    if settings.optimizer == "adam":
        return keras.optimizers.Adam(rate)
    fixed = settings.optimizer == "fixed_muon"
    return DAUMuon(rate, fixed_norms=fixed, adam_rate=FIXED_ADAM_RATE if fixed else 1.0)


def image_sizes(settings: Settings, data: ImageData) -> list[tuple[int, int]] | None:
    """Height and width of the images in every epoch; None for those of the data."""
    if not settings.grow:
        return None
    sides = data.train_images.shape[1:3]
    return list(zip(*(growing_sizes(side, settings.epochs) for side in sides)))


def loss(
    settings: Settings, net: keras.Model, steps_per_epoch: int, data: ImageData
) -> keras.losses.Loss:
    """The loss that the settings ask for; an annealed one is that of T until `anneal`."""
    sizes = image_sizes(settings, data)
    start = settings.start_temperature
    if start is None and sizes is None:
        return OneVsAllCrossentropy()
    sizes = sizes or [(1, 1)]
    areas = [
        (epoch * steps_per_epoch, math.prod(size) / math.prod(sizes[-1]))
        for epoch, size in enumerate(sizes)
        if size not in sizes[:epoch]
    ]
    rising = max(1, round(settings.rise * settings.epochs * steps_per_epoch))
    return AnnealedCrossentropy(
        net.temperature,
        net.temperature if start is None else start,
        0 if start is None else rising,
        net.logit_bias,
        areas,
    )


def anneal(net: keras.Model) -> None:
    """Tells an annealed loss the step while a training step computes it, and only then.

    What is measured on test images, which are whole, is the net as it is.

    Args:
        net: a compiled net whose `train_step` is the one that `fit` will call.
    """
    loss, variables, train_step = net.loss, net.optimizer.variables, net.train_step
    if not isinstance(loss, AnnealedCrossentropy):
        return
    place = next(i for i, value in enumerate(variables) if value is net.optimizer.iterations)

    def step(*arguments: Any) -> Any:
        # On JAX variables have their values in the first argument, a tuple, while a step lasts.
        on_jax = backend.NAME == "jax"
        loss.iterations = arguments[0][2][place] if on_jax else variables[place]
        try:
            return train_step(*arguments)
        finally:
            loss.iterations = None

    net.train_step = step


def check_resumed(
    settings: Settings, net: CoDANet, steps_per_epoch: int, data: ImageData, progress: Progress
) -> None:
    """Checks that a run may get more epochs: rate and temperature must not jump.

    Args:
        settings: of the run; its folder tells how many `epochs` it had so far.
        net: the net, with its optimiser.
        steps_per_epoch: int.
        data: `ImageData`.
        progress: how far the run is.

    Raises:
        FileExistsError: if the rate or the temperature would change at once.
    """
    earlier = run_folder.earlier(settings.folder, "epochs")
    if earlier in (None, settings.epochs):
        return
    done, now = progress.epoch * steps_per_epoch + progress.step, []
    for epochs in (earlier, settings.epochs):
        changed = replace(settings, epochs=epochs)
        rate = learning_rate(changed, steps_per_epoch)(done)
        annealed = loss(changed, net, steps_per_epoch, data)
        factor: Any = 1.0
        if isinstance(annealed, AnnealedCrossentropy):
            factor = annealed.factor(np.asarray(done, "float32"))
        now.append((float(rate), float(factor)))
    if not np.allclose(*now):
        raise FileExistsError(
            f"{settings.folder} holds a run of --epochs {earlier}, whose learning rate or "
            f"temperature would jump with {settings.epochs}. Epochs can be added while both stay "
            "as they are: before --schedule trapezoid goes down, or with --schedule steps. Repeat "
            "the command, or choose another --output."
        )
