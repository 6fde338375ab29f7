"""A run: its folder, its devices, training with resume."""

import argparse
import errno
import functools
import signal
from collections.abc import Callable, Sequence
from contextlib import contextmanager, nullcontext

import keras
import tensorflow as tf

from coda_keras.data.tf_batches import (
    ImageData,
    steps_per_epoch,
    telling_broken_images,
    test_batch_size,
    test_batches,
    train_batches,
)
from coda_keras.models.coda_net import CoDANet
from coda_keras.models.growth import copy_weights
from coda_keras.models.loading import check_exists, load_model
from coda_keras.tensorboard.callbacks import tensorboard_callbacks
from coda_keras.training import folder, objective
from coda_keras.training import tf_distribution as distribution
from coda_keras.training.checkpoints import Progress, restore, save_model, share
from coda_keras.training.confusion import ConfusionAccuracy
from coda_keras.training.endings import in_float32, telling
from coda_keras.training.epochs import fit
from coda_keras.training.tf_steps import set_steps
from coda_keras.training.tf_workers import Workers, telling_of_lost_workers
from coda_keras.training.watch import Watch, signals

# Test images whose contribution maps TensorBoard shows after every epoch.
SHOWN_IMAGES = 12


def start(args: argparse.Namespace) -> tf.distribute.Strategy:
    """Checks that a run can begin or go on, and sets seed, precision and devices.

    To be called before TensorFlow computes anything. It writes nothing: the folder of the run
    appears when training begins.

    Args:
        args: the parsed flags.

    Returns:
        The strategy to train under; of several workers the one that connects them.

    Raises:
        FileExistsError: if the folder holds a finished run, or one with other arguments.
        NotADirectoryError: if it is a file.
        ValueError: if there are fewer devices than asked for, they cannot share a batch, or there
            is no net to begin with.
    """
    folder.check(args)
    if getattr(args, "initial", None):
        check_exists(args.initial)
    keras.utils.set_random_seed(args.seed)
    if args.deterministic:
        tf.config.experimental.enable_op_determinism()
    distribution.set_precision(args.precision)
    strategy = distribution.data_parallel(args.replicas, args.batch_size)
    if args.deterministic:
        # Layers of keras-cv ask for it, which draw nothing here.
        tf.random.set_global_generator(tf.random.Generator.from_seed(args.seed))
    return strategy


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
    workers = None
    if isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        # Keras' `fit` does not run under it: every worker computes under the default one.
        workers, strategy = Workers(strategy), tf.distribute.get_strategy()
    chief = workers is None or workers.index == 0
    parts = strategy.num_replicas_in_sync * (workers.count if workers else 1) * args.accumulate
    if args.batch_size % parts:
        raise ValueError(
            f"--batch-size {args.batch_size} cannot be split into {args.accumulate} parts "
            "(--accumulate) on every device."
        )
    steps = steps_per_epoch(len(data.train_images), args.batch_size)
    with strategy.scope():
        net = build()
        net.optimizer = objective.optimizer(args, steps)
        net.optimizer.build(net.trainable_variables)
        progress = restore(run, net) if chief else Progress()
        if workers:
            progress = share(workers, net, progress)
        begun = progress.epoch or progress.step
        if not begun and getattr(args, "initial", None):
            copy_weights(load_model(args.initial), net)
        accuracy = ConfusionAccuracy(len(data.class_names))
        net.compile(
            optimizer=net.optimizer,
            loss=objective.loss(args, net, steps, data),
            metrics=[accuracy],
            jit_compile=distribution.use_xla(strategy) and not workers,
        )
    if args.accumulate > 1 or workers:
        set_steps(net, args.accumulate, workers)
    if begun and chief:
        objective.check_resumed(args, net, steps, data, progress)
        print(f"Resuming after epoch {progress.epoch} of {args.epochs}, step {progress.step}.")
    boards = []
    if chief:
        folder.record(args)
        shown = SHOWN_IMAGES if isinstance(net, CoDANet) else 0
        boards = tensorboard_callbacks(
            run,
            data.test_images[:shown].astype("float32") / 255.0 if shown else None,
            data.test_labels[:shown],
            data.class_names,
            batch_size=args.batch_size,
            arguments=vars(args),
        )
    with signals(signal.SIGINT, signal.SIGTERM) as received:
        watch = Watch(
            run,
            progress,
            [accuracy],
            args.checkpoint_every,
            args.keep_checkpoints,
            received,
            write=chief,
        )
        lost = telling_of_lost_workers(watch.how_to_go_on) if workers else nullcontext()
        with telling(args, net, watch), _telling_of_full_disks(), lost, telling_broken_images():
            _fit(args, net, data, augment, steps, [*boards, watch], workers)
    net = in_float32(args, net)
    if chief:
        save_model(net, run / "model.keras")
    return net, progress.history


@contextmanager
def _telling_of_full_disks():
    """Gives an error of TensorFlow's writers the number that it has elsewhere."""
    try:
        yield
    except tf.errors.ResourceExhaustedError as error:
        # Full GPUs are of the same class.
        if "No space left" not in error.message:
            raise
        raise OSError(errno.ENOSPC, error.message) from error


def _fit(args, net, data, augment, steps, callbacks, workers):
    size = _test_batch_size(len(data.test_images), test_batch_size(data.test_images), net)
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
        share=(workers.index, workers.count) if workers else (0, 1),
    )
    tests = test_batches(data.test_images, data.test_labels, size)
    quiet = bool(workers and workers.index)
    fit(args, net, steps, callbacks[-1].progress, batches, tests, callbacks, quiet)


def _test_batch_size(count, size, net):
    """The largest size up to `size` at which no replica gets an empty share.

    Keras takes a mean over the replicas' shares of the first batch besides, which must be equal.
    """
    replicas = net.distribute_strategy.num_replicas_in_sync
    first = max(replicas, min(size, count) // replicas * replicas)
    fitting = (n for n in range(first, 0, -replicas) if not 0 < count % n < replicas)
    return next(fitting, first)
