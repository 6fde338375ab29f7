"""What ends a training, and what is said of it."""

import argparse
import errno
from collections.abc import Iterator
from contextlib import contextmanager

import keras

from coda_keras.models.coda_net import CoDANet
from coda_keras.models.precision import float32_copy
from coda_keras.training.checkpoints import restore, save_model
from coda_keras.training.watch import Stopped, Watch

FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def telling(args: argparse.Namespace, net: keras.Model, watch: Watch) -> Iterator[None]:
    """Says of what ends a training how to go on.

    Args:
        args: the parsed flags.
        net: what is trained.
        watch: the `Watch` over the training.
    """
    try:
        yield
    except Stopped:
        raise
    except KeyboardInterrupt as end:
        raise Stopped(watch.how_to_go_on()) from end
    except FloatingPointError as error:
        said = f"{error} Try a lower --learning-rate, or --precision float32."
        if watch.saved and watch.write:
            restore(args.output, net)
            path = args.output / "last-good.keras"
            save_model(in_float32(args, net), path)
            epoch, step = watch.saved
            said += f" {path} has the weights after epoch {epoch} and {step} steps."
        raise FloatingPointError(said) from error
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise OSError(error.errno, f"The disk is full. {watch.how_to_go_on()}") from error


def in_float32(args: argparse.Namespace, net: keras.Model) -> keras.Model:
    """The net that a run leaves behind: a `CoDANet` explains itself exactly in float32 only."""
    if isinstance(net, CoDANet) and args.precision != "float32":
        return float32_copy(net)
    return net
