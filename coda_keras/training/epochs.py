"""The epochs of a run, of which the first may have begun."""

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Any

import keras

from coda_keras.training.checkpoints import Progress


def fit(
    args: argparse.Namespace,
    net: keras.Model,
    steps: int,
    progress: Progress,
    batches: Callable[..., Any],
    tests: Any,
    callbacks: Sequence[keras.callbacks.Callback],
    quiet: bool = False,
) -> None:
    """Trains a net from where its progress is to the last epoch.

    Args:
        args: the parsed flags.
        net: a compiled net.
        steps: int, of a whole epoch.
        progress: `Progress`, which a callback keeps up to date.
        batches: function of `start_epoch` and `start_step` that returns what to train on.
        tests: what to test on after every epoch.
        callbacks: of Keras.
        quiet: bool, whether to print nothing.
    """
    verbose = 0 if quiet else 1 if sys.stdout.isatty() else 2
    # The rest of an epoch is a `fit` of its own, since those take epochs of equal length.
    while progress.epoch < args.epochs:
        net.fit(
            batches(start_epoch=progress.epoch, start_step=progress.step),
            steps_per_epoch=steps - progress.step,
            initial_epoch=progress.epoch,
            epochs=progress.epoch + 1 if progress.step else args.epochs,
            validation_data=tests,
            callbacks=callbacks,
            shuffle=False,
            verbose=verbose,
        )
