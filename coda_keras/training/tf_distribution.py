"""What a training computes on where Keras runs on TensorFlow: devices, replicas, workers."""

import errno
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from coda_keras import backend
from coda_keras.data import tf_batches
from coda_keras.data.images import ImageData, test_batch_size
from coda_keras.training import checkpoints
from coda_keras.training import tf_workers as workers
from coda_keras.training.checkpoints import Progress
from coda_keras.training.devices import Devices
from coda_keras.training.settings import Settings
from coda_keras.training.tf_steps import set_steps


class TensorFlowDevices(Devices):
    """The devices of a machine, or one of several workers that train together.

    To be made before TensorFlow computes anything.

    Args:
        settings: of the run.

    Attributes:
        strategy: the `tf.distribute.Strategy` under which Keras trains.
        workers: `Workers`, or None for one process.

    Raises:
        ValueError: if there are fewer devices than asked for, or they cannot share a batch.
    """

    batches = tf_batches

    def __init__(self, settings: Settings) -> None:
        if settings.deterministic:
            tf.config.experimental.enable_op_determinism()
        strategy = data_parallel(settings.replicas, settings.batch_size)
        if settings.deterministic:
            # Layers of keras-cv ask for it, which draw nothing here.
            tf.random.set_global_generator(tf.random.Generator.from_seed(settings.seed))
        self.workers = None
        if isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
            # Keras' `fit` does not run under it: every worker computes under the default one.
            self.workers, strategy = workers.Workers(strategy), tf.distribute.get_strategy()
            self.share = (self.workers.index, self.workers.count)
        self.strategy = strategy
        self.chief = workers.is_chief()
        self.jit_compile = backend.use_xla(strategy) and not self.workers
        parts = strategy.num_replicas_in_sync * self.share[1] * settings.accumulate
        if settings.batch_size % parts:
            raise ValueError(
                f"--batch-size {settings.batch_size} cannot be split into {settings.accumulate} "
                "parts (--accumulate) on every device."
            )

    def from_chief(self, text: str) -> str:
        return self.workers.text_from_chief(text) if self.workers else text

    def scope(self) -> AbstractContextManager:
        return self.strategy.scope()

    def restore(self, folder: Path, net: keras.Model) -> Progress:
        progress = checkpoints.restore(folder, net) if self.chief else Progress()
        return checkpoints.share(self.workers, net, progress) if self.workers else progress

    def set_steps(self, net: keras.Model, parts: int) -> None:
        if parts > 1 or self.workers:
            set_steps(net, parts, self.workers)

    def test_batches(self, data: ImageData) -> Any:
        images, replicas = data.test_images, self.strategy.num_replicas_in_sync
        size = _test_batch_size(len(images), test_batch_size(images), replicas)
        return self.batches.test_batches(images, data.test_labels, size)

    @contextmanager
    def explaining_errors(self, how_to_go_on: Callable[[], str]) -> Iterator[None]:
        lost = workers.reporting_lost_workers(how_to_go_on) if self.workers else nullcontext()
        with _reporting_full_disks(), lost, self.batches.reporting_broken_images():
            yield


@contextmanager
def _reporting_full_disks() -> Iterator[None]:
    """Gives an error of TensorFlow's writers the number that it has elsewhere."""
    try:
        yield
    except tf.errors.ResourceExhaustedError as error:
        # Full GPUs are of the same class.
        if "No space left" not in error.message:
            raise
        raise OSError(errno.ENOSPC, error.message) from error


def _test_batch_size(count, size, replicas):
    """The largest size up to `size` at which no replica gets an empty share.

    Keras takes a mean over the replicas' shares of the first batch besides, which must be equal.
    """
    first = max(replicas, min(size, count) // replicas * replicas)
    fitting = (n for n in range(first, 0, -replicas) if not 0 < count % n < replicas)
    return next(fitting, first)


def data_parallel(replicas: int | None, batch_size: int) -> tf.distribute.Strategy:
    """A strategy that splits every batch over the devices of this machine, or over workers.

    To be called before TensorFlow computes anything: logical devices are made at its start.

    Args:
        replicas: number of devices: GPUs where there are any, else logical CPUs. None for all GPUs,
            or one CPU.
        batch_size: int, over all replicas.

    Returns:
        A `MirroredStrategy` over several devices, or TensorFlow's default one for a single one.
        If TF_CONFIG names several workers, a `MultiWorkerMirroredStrategy` that connects them.

    Raises:
        ValueError: if there are fewer GPUs than replicas, the batch does not divide, or a worker
            has several devices.
    """
    gpus = tf.config.list_physical_devices("GPU")
    count = workers.configured()
    if count > 1:
        if (replicas or max(1, len(gpus))) > 1:
            raise ValueError(
                f"A worker trains on one device, this one has {max(replicas or 1, len(gpus))}. "
                "Start one for each GPU, and give each its own by CUDA_VISIBLE_DEVICES."
            )
        if batch_size % count:
            raise ValueError(f"--batch-size {batch_size} cannot be split over {count} workers.")
        with workers.reporting_lost_workers():
            return tf.distribute.MultiWorkerMirroredStrategy()
    replicas = replicas or max(1, len(gpus))
    if gpus and replicas > len(gpus):
        raise ValueError(f"--replicas {replicas}, but this machine has {len(gpus)} GPUs.")
    if replicas == 1:
        return tf.distribute.get_strategy()
    if batch_size % replicas:
        raise ValueError(
            f"--batch-size {batch_size} cannot be split evenly over {replicas} replicas."
        )
    if not gpus:
        (cpu,) = tf.config.list_physical_devices("CPU")
        tf.config.set_logical_device_configuration(
            cpu, [tf.config.LogicalDeviceConfiguration()] * replicas
        )
    kind = "GPU" if gpus else "CPU"
    return tf.distribute.MirroredStrategy([f"{kind}:{index}" for index in range(replicas)])
