"""Processes on one or several machines that train one net together.

TF_CONFIG says who they are, as for `tf.distribute.MultiWorkerMirroredStrategy`, whose collectives
connect them. The `fit` of Keras 3.15 does not run under that strategy: it reduces batches and logs
in ways that fail there. So every worker runs a `fit` of its own on its share of each batch, and
`steps` averages the gradients over all.
"""

import functools
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import tensorflow as tf


class WorkerLost(ConnectionError):
    """Another worker has gone or does not come, without which this one cannot go on.

    Attributes:
        exit_code: 75, that of failures that pass: to start all workers again is what helps.
    """

    exit_code = 75


@contextmanager
def reporting_lost_workers(how_to_go_on: Callable[[], str] = str) -> Iterator[None]:
    """Turns what TensorFlow says of broken connections into `WorkerLost`.

    Args:
        how_to_go_on: function that returns a sentence for the message.
    """
    try:
        yield
    except (tf.errors.ResourceExhaustedError, tf.errors.InvalidArgumentError):
        raise
    except tf.errors.OpError as error:
        said = f"Another worker has gone or does not come; start all again. {how_to_go_on()}"
        raise WorkerLost(said.strip()) from error


def configured() -> int:
    """Number of workers that TF_CONFIG names; 1 without it.

    Raises:
        ValueError: if TF_CONFIG is no JSON, or names other tasks than workers.
    """
    text = os.environ.get("TF_CONFIG") or "{}"
    try:
        cluster = json.loads(text).get("cluster", {})
    except (json.JSONDecodeError, AttributeError) as error:
        raise ValueError(f"TF_CONFIG is no JSON object: {text}") from error
    if set(cluster) - {"worker"}:
        raise ValueError(f"TF_CONFIG names {sorted(cluster)}. Expected workers only.")
    return max(1, len(cluster.get("worker", [])))


def is_chief() -> bool:
    """Whether this process is the first worker, or the only one."""
    if configured() == 1:
        return True
    return int(json.loads(os.environ["TF_CONFIG"])["task"]["index"]) == 0


class Workers:
    """The workers of a strategy, as seen from one of them.

    Args:
        strategy: a `MultiWorkerMirroredStrategy` with one device in every process.

    Attributes:
        index: int, of this worker; the first one, the chief, writes what a run leaves behind.
        count: int.
    """

    def __init__(self, strategy: tf.distribute.MultiWorkerMirroredStrategy) -> None:
        self.strategy = strategy
        self.index = strategy.cluster_resolver.task_id
        self.count = strategy.num_replicas_in_sync

    def mean(self, tensors: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """Means over all workers of tensors that have the same shapes everywhere."""
        mean = tf.distribute.ReduceOp.MEAN
        return self._run(lambda context, *values: context.all_reduce(mean, list(values)), tensors)

    def gather(self, tensors: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """Tensors of all workers, joined along their first axis in the order of the workers."""
        gathered = self._run(
            lambda context, *values: [context.all_gather(value, axis=0) for value in values],
            tensors,
        )
        # The collective forgets shapes.
        return [
            tf.ensure_shape(joined, (None, *tensor.shape[1:]))
            for joined, tensor in zip(gathered, tensors)
        ]

    def spread(self, function: Callable[[tf.Tensor], Any], images: tf.Tensor) -> Any:
        """`function(images)`, of which every worker computes a part.

        To be called by all of them within a `tf.function`.

        Args:
            function: from images to tensors, in any structure, each with the images first.
            images: `(B, ...)`, the same for all workers.

        Returns:
            The structure of tensors for all images.
        """
        count = tf.shape(images)[0]
        size = (count + self.count - 1) // self.count
        # Parts have equal sizes: some images are computed twice, and left out below.
        rows = (self.index * size + tf.range(size)) % count
        results = function(tf.gather(images, rows))
        joined = self.gather(tf.nest.flatten(results))
        return tf.nest.pack_sequence_as(results, [rows[:count] for rows in joined])

    def from_chief(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The chief's arrays, for all workers; others give some of the same shapes and dtypes."""
        # A sum in which all others are zero is exact; not every integer type can be summed.
        values = [array if self.index == 0 else np.zeros_like(array) for array in arrays]
        values = [value if value.dtype.kind == "f" else value.astype("int64") for value in values]
        tensors = [tf.constant(value) for value in values]

        def add_up(context, *values):
            # One by one: together they would have to be of one dtype.
            return [context.all_reduce(tf.distribute.ReduceOp.SUM, value) for value in values]

        together = tf.function(functools.partial(self._run, add_up, tensors), autograph=False)
        with reporting_lost_workers():
            sums = together()
        return [total.numpy().astype(array.dtype) for total, array in zip(sums, arrays)]

    def text_from_chief(self, text: str) -> str:
        """The chief's text, for all workers."""
        codes = np.frombuffer(text.encode(), np.uint8).astype("int32")
        (length,) = self.from_chief([np.array(len(codes))])
        (codes,) = self.from_chief([np.resize(codes, length)])
        return codes.astype(np.uint8).tobytes().decode()

    def _run(self, function, tensors):
        def on_device(*values):
            # Collectives need tensors that lie on the worker's device.
            placed = [tf.identity(value) for value in values]
            return function(tf.distribute.get_replica_context(), *placed)

        results = self.strategy.run(on_device, args=tuple(tensors))
        return [self.strategy.experimental_local_results(result)[0] for result in results]
