"""A run without TensorFlow: NumPy's batches and one device of whatever Keras runs on."""

import argparse
import functools
import os
import signal
from collections.abc import Callable, Sequence
from typing import Any

import keras

from coda_keras import backend
from coda_keras.data.images import ImageData, steps_per_epoch
from coda_keras.data.numpy_batches import Augment, TestBatches, train_batches
from coda_keras.models.growth import copy_weights
from coda_keras.models.loading import check_exists, load_model
from coda_keras.training import folder, objective
from coda_keras.training.annealing import AnnealedCrossentropy
from coda_keras.training.checkpoints import restore, save_model
from coda_keras.training.confusion import ConfusionAccuracy
from coda_keras.training.endings import in_float32, telling
from coda_keras.training.epochs import fit
from coda_keras.training.watch import Watch, signals

# Flags of what is made for TensorFlow, with the values that leave it out.
NEEDS_TENSORFLOW = {
    "randaugment": (False,),
    "replicas": (None, 1),
    "accumulate": (1,),
    "deterministic": (False,),
}


def start(args: argparse.Namespace) -> None:
    """Checks that a run can begin or go on, and sets seed and precision.

    Args:
        args: the parsed flags.

    Raises:
        FileExistsError: if the folder holds a finished run, or one with other arguments.
        NotADirectoryError: if it is a file.
        ValueError: if a flag needs TensorFlow, or there is no net to begin with.
    """
    folder.check(args)
    for name, without in NEEDS_TENSORFLOW.items():
        if getattr(args, name, without[0]) not in without:
            raise ValueError(
                f"--{name.replace('_', '-')} needs Keras on TensorFlow, and it runs on "
                f"{backend.NAME}. Leave it out, or set KERAS_BACKEND=tensorflow."
            )
    if getattr(args, "initial", None):
        check_exists(args.initial)
    keras.utils.set_random_seed(args.seed)
    keras.config.set_dtype_policy(args.precision)
    backend.use_full_precision()
    print(f"Keras runs on {backend.NAME}: no TensorBoard and no servable, which need TensorFlow.")


def train(
    args: argparse.Namespace,
    strategy: None,
    build: Callable[[], keras.Model],
    data: ImageData,
    augment: Sequence[Augment],
) -> tuple[keras.Model, list[dict[str, float]]]:
    """Trains `build()`, or what an interrupted run has left of it, to the last epoch.

    Args:
        args: the parsed flags.
        strategy: None, as `start` returns it.
        build: function that returns the untrained net.
        data: `ImageData`.
        augment: functions `(image, random) -> image`, as `train_batches` takes them.

    Returns:
        `(net, history)`, as `coda_keras.training.run.train`.

    Raises:
        ValueError: if there are fewer training images than a batch holds.
    """
    steps = steps_per_epoch(len(data.train_images), args.batch_size)
    net = build()
    net.optimizer = objective.optimizer(args, steps)
    net.optimizer.build(net.trainable_variables)
    progress = restore(args.output, net)
    begun = progress.epoch or progress.step
    if not begun and getattr(args, "initial", None):
        copy_weights(load_model(args.initial), net)
    accuracy = ConfusionAccuracy(len(data.class_names))
    net.compile(
        optimizer=net.optimizer,
        loss=objective.loss(args, net, steps, data),
        metrics=[accuracy],
        jit_compile=backend.NAME == "jax",
    )
    if backend.NAME == "jax" and isinstance(net.loss, AnnealedCrossentropy):
        _hand_over_steps(net)
    if begun:
        objective.check_resumed(args, net, steps, data, progress)
        print(f"Resuming after epoch {progress.epoch} of {args.epochs}, step {progress.step}.")
    folder.record(args)
    with signals(signal.SIGINT, signal.SIGTERM) as received:
        watch = _Watch(
            args.output,
            progress,
            [accuracy],
            args.checkpoint_every,
            args.keep_checkpoints,
            received,
        )
        with telling(args, net, watch):
            _fit(args, net, data, augment, steps, watch)
    net = in_float32(args, net)
    save_model(net, args.output / "model.keras")
    return net, progress.history


def _fit(args, net, data, augment, steps, watch):
    batches = functools.partial(
        train_batches,
        data.train_images,
        data.train_labels,
        args.batch_size,
        args.epochs,
        seed=args.seed,
        augment=augment,
        sizes=objective.image_sizes(args, data),
        alternate_flip=getattr(args, "alternate_flip", False),
    )
    tests = TestBatches(data.test_images, data.test_labels)
    fit(args, net, steps, watch.progress, batches, tests, [watch])


def _hand_over_steps(net):
    """Tells the loss what step it is: on JAX a step gets variables as values, losses none."""
    optimizer, loss, train_step = net.optimizer, net.loss, net.train_step
    place = next(i for i, each in enumerate(optimizer.variables) if each is optimizer.iterations)

    def step(state, data):
        loss.iterations = state[2][place]
        logs, state = train_step(state, data)
        # No value outlives its step; images to test on are whole, and their loss is that of T.
        loss.iterations = None
        return logs, state

    net.train_step = step


class _Watch(Watch):
    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        # On JAX the values of variables are elsewhere while an epoch lasts.
        getattr(self.model, "jax_state_sync", int)()
        super().on_train_batch_begin(batch, logs)


def rand_augment(*_: Any) -> Augment:
    """Not there without TensorFlow: `start` has refused the flag."""
    raise ValueError("RandAugment needs Keras on TensorFlow. Set KERAS_BACKEND=tensorflow.")


def load_prepared(name: str, data_dir: str | os.PathLike | None = None) -> ImageData:
    """Not there without TensorFlow, whose data sets these are.

    Raises:
        ValueError: always, with what is there.
    """
    raise ValueError(
        f"{name} in {data_dir or 'the folder of TensorFlow Datasets'} needs TensorFlow, and Keras "
        f"runs on {backend.NAME}. Point --data at CIFAR-10 as it is distributed "
        "(cifar-10-batches-bin or cifar-10-batches-py), or at a file that "
        "coda_keras.data.images.save_npz has written."
    )
