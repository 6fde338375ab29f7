"""Arithmetic and devices of a training process."""

import keras
import tensorflow as tf

from coda_keras import backend
from coda_keras.training import tf_workers as workers


def set_precision(policy: str) -> None:
    """Sets Keras' dtype policy, and float32 products to their full precision.

    Args:
        policy: `"float32"`, or `"mixed_bfloat16"` for faster arithmetic.
    """
    keras.config.set_dtype_policy(policy)
    backend.use_full_precision()


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
        with workers.telling_of_lost_workers():
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


def use_xla(strategy: tf.distribute.Strategy) -> bool:
    """Whether a training step is compiled by XLA: on a single GPU.

    On a CPU oneDNN's convolutions in graph mode are faster, above all their gradients and in
    bfloat16 (docs/training.md has the timings); XLA's collectives cannot cross devices.
    """
    gpus = tf.config.list_physical_devices("GPU")
    return bool(gpus) and strategy.num_replicas_in_sync == 1
