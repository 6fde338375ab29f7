"""A run: its folder, its devices, training with resume."""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from coda_keras.annealing import AnnealedCrossentropy, growing_sizes
from coda_keras.confusion import ConfusionAccuracy
from coda_keras.files import check_folder, write_json
from coda_keras.growth import copy_weights
from coda_keras.interpretation.loading import check_exists, load
from coda_keras.losses import OneVsAllCrossentropy
from coda_keras.net import CoDANet
from coda_keras.optimizers import DAUMuon
from coda_keras.schedules import Trapezoid, Warmup
from coda_keras.tf import distribution
from coda_keras.tf.data import (
    ImageData,
    steps_per_epoch,
    telling_broken_images,
    test_batches,
    train_batches,
)
from coda_keras.tf.signatures import float32_copy
from coda_keras.tf.summaries import tensorboard_callbacks
from coda_keras.training.checkpoints import EpochCheckpoint, restore, save_model

# Test images whose contribution maps TensorBoard shows after every epoch.
SHOWN_IMAGES = 12
ARGUMENTS = "arguments.json"
CONSTANT_UNTIL = 0.7  # fraction of the steps, of the schedule trapezoid


def start(args: argparse.Namespace) -> tf.distribute.Strategy:
    """Checks that a run can begin or go on, and sets seed, precision and devices.

    To be called before TensorFlow computes anything. It writes nothing: the folder of the run
    appears when training begins.

    Args:
        args: the parsed flags.

    Returns:
        The strategy to train under.

    Raises:
        FileExistsError: if the folder holds a finished run, or one with other arguments.
        NotADirectoryError: if it is a file.
        ValueError: if there are fewer devices than asked for, they cannot share a batch, or there
            is no net to begin with.
    """
    _check_folder(args)
    if getattr(args, "initial", None):
        check_exists(args.initial)
    keras.utils.set_random_seed(args.seed)
    distribution.set_precision(args.precision)
    return distribution.data_parallel(args.replicas, args.batch_size)


def train(
    args: argparse.Namespace,
    strategy: tf.distribute.Strategy,
    build: Callable[[], keras.Model],
    data: ImageData,
    augment: Sequence[Callable[[tf.Tensor, tf.Tensor], tf.Tensor]],
) -> tuple[keras.Model, list[dict[str, float]]]:
    """Trains `build()`, or what an interrupted run has left of it, to the last epoch.

    Args:
        args: the parsed flags.
        strategy: as `start` returns it.
        build: function that returns the untrained net.
        data: `ImageData`.
        augment: functions `(image, seed) -> image`, as `train_batches` takes them.

    Returns:
        `(net, history)`: the net, a `CoDANet` in float32 whatever it was trained in, since
        explanations are exact there only; history a list with a dict of logs for each epoch.

    Raises:
        ValueError: if there are fewer training images than a batch holds.
    """
    run = args.output
    sizes = None
    if getattr(args, "grow", False):
        sizes = growing_sizes(data.train_images.shape[1], args.epochs)
    steps = steps_per_epoch(len(data.train_images), args.batch_size)
    with strategy.scope():
        net, history = restore(run, steps)
        if net is None:
            net = build()
            if getattr(args, "initial", None):
                copy_weights(load(args.initial), net)
            muon = getattr(args, "optimizer", "adam") == "muon"
            make = DAUMuon if muon else keras.optimizers.Adam
            net.optimizer = make(learning_rate(args, steps))
        else:
            print(f"Resuming after epoch {len(history)} of {args.epochs}.")
        net.compile(
            optimizer=net.optimizer,
            loss=_loss(args, net, steps, sizes),
            metrics=[ConfusionAccuracy(len(data.class_names))],
            jit_compile=distribution.use_xla(strategy),
        )
    shown = SHOWN_IMAGES if isinstance(net, CoDANet) else 0
    boards = tensorboard_callbacks(
        run,
        data.test_images[:shown].astype("float32") / 255.0 if shown else None,
        data.test_labels[:shown],
        data.class_names,
        images_per_epoch=steps * args.batch_size,
        arguments=vars(args),
    )
    checkpoint = EpochCheckpoint(run, history)
    write_json(run / ARGUMENTS, _arguments(args))
    try:
        with telling_broken_images():
            _fit(args, net, data, augment, steps, [*boards, checkpoint], len(history), sizes)
    except KeyboardInterrupt as end:
        raise KeyboardInterrupt(_how_to_go_on(len(checkpoint.history))) from end
    if isinstance(net, CoDANet) and args.precision != "float32":
        net = float32_copy(net)
    save_model(net, run / "model.keras")
    return net, checkpoint.history


def _loss(args, net, steps, sizes):
    start = getattr(args, "start_temperature", None)
    if start is None and sizes is None:
        return OneVsAllCrossentropy()
    sizes = sizes or [1]
    areas = [
        (epoch * steps, (size / sizes[-1]) ** 2)
        for epoch, size in enumerate(sizes)
        if size not in sizes[:epoch]
    ]
    return AnnealedCrossentropy(
        net.temperature,
        net.temperature if start is None else start,
        0 if start is None else max(1, round(args.rise * args.epochs * steps)),
        net.logit_bias,
        areas,
        net.optimizer.iterations,
    )


def _fit(args, net, data, augment, steps, callbacks, start_epoch, sizes):
    net.fit(
        train_batches(
            data.train_images,
            data.train_labels,
            args.batch_size,
            args.epochs,
            start_epoch=start_epoch,
            seed=args.seed,
            augment=augment,
            sizes=sizes,
        ),
        steps_per_epoch=steps,
        initial_epoch=start_epoch,
        epochs=args.epochs,
        validation_data=test_batches(data.test_images, data.test_labels),
        callbacks=callbacks,
        shuffle=False,
        verbose=1 if sys.stdout.isatty() else 2,
    )


def _how_to_go_on(epochs):
    if not epochs:
        return "Interrupted in the first epoch: nothing is saved yet, the same command begins anew."
    return f"Interrupted; the same command goes on after epoch {epochs}."


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


def _check_folder(args):
    check_folder(args.output)
    if (args.output / "metrics.json").exists():
        raise FileExistsError(
            f"{args.output} holds a finished run. Choose another --output, or delete the folder."
        )
    changed = _changed(args.output / ARGUMENTS, _arguments(args))
    if changed:
        flags = ", ".join("--" + name.replace("_", "-") for name in changed)
        raise FileExistsError(
            f"{args.output} holds an interrupted run with another {flags}. Repeat its command "
            "to resume it, choose another --output, or delete the folder."
        )


def _changed(record: Path, arguments: dict[str, Any]) -> list[str]:
    """Names of the arguments that an interrupted run had otherwise, or had not, or has more."""
    if not record.exists():
        return []
    before = json.loads(record.read_text())
    missing = object()
    return sorted(
        name
        for name in before.keys() | arguments.keys()
        if before.get(name, missing) != arguments.get(name, missing)
    )


def _arguments(args):
    # Where the files lie does not change what is computed.
    places = ("data", "archive", "cache", "output")
    return {name: value for name, value in vars(args).items() if name not in places}
