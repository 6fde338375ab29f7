"""A training step in parts that need less memory, or shared among workers."""

import functools

import keras
import tensorflow as tf

from coda_keras.layers.normalization import DynamicBatchNormalization
from coda_keras.training.tf_workers import Workers


def set_steps(net: keras.Model, parts: int = 1, workers: Workers | None = None) -> None:
    """Makes `net.fit` compute its steps otherwise, with the same result up to rounding.

    Keras' own accumulation counts every part as an iteration, and fails under several replicas;
    here a step is a step for schedules, losses and optimisers, whatever it consists of.

    Args:
        net: a net whose loss is a mean over images.
        parts: int, into how many parts every batch is split; the gradients of one after the other
            are added up.
        workers: those whose shares make up a batch to train on, or None. Batches to test on are the
            same for all, who compute a part of each.

    Raises:
        ValueError: if the net normalises over batches, since parts would change its result.
    """
    over_batches = keras.layers.BatchNormalization, DynamicBatchNormalization
    if parts > 1 and any(isinstance(layer, over_batches) for layer in net._flatten_layers()):
        raise ValueError(
            f"A batch in {parts} parts (--accumulate) would change what batch normalisation does. "
            "Use a smaller batch."
        )
    net.train_step = functools.partial(_train_step, net, parts, workers)
    if workers:
        net.test_step = functools.partial(_test_step, net, workers)


def _train_step(net, parts, workers, data):
    images, labels, _ = keras.utils.unpack_x_y_sample_weight(data)
    loss, logits, gradients = _in_parts(net, images, labels, parts)
    if workers:
        loss, *gradients = workers.mean([loss, *gradients])
        labels, logits = workers.gather([labels, logits])
    net.optimizer.apply_gradients(zip(gradients, net.trainable_weights))
    if workers:
        _average_states(net, workers)
    # Keras divides losses by the replicas, whose gradients are added up.
    loss *= tf.distribute.get_strategy().num_replicas_in_sync
    return _measured(net, images, labels, logits, loss)


def _test_step(net, workers, data):
    images, labels, _ = keras.utils.unpack_x_y_sample_weight(data)
    logits = workers.spread(lambda part: net(part, training=False), images)
    loss = net.compute_loss(images, labels, logits, training=False)
    return _measured(net, images, labels, logits, loss)


def _measured(net, images, labels, logits, loss):
    tracker = next(metric for metric in net.metrics if metric.name == "loss")
    tracker.update_state(loss, sample_weight=tf.shape(logits)[0])
    return net.compute_metrics(images, labels, logits)


def _in_parts(net, images, labels, parts):
    """Loss, logits and gradients of a batch."""
    if parts == 1:
        return _gradients(net, images, labels)
    images, labels = (tf.stack(tf.split(batch, parts)) for batch in (images, labels))
    zeros = [tf.zeros_like(weight) for weight in net.trainable_weights]
    logits = tf.TensorArray(tf.float32, parts)

    def add(number, loss, gradients, logits):
        more, own, added = _gradients(net, images[number], labels[number])
        gradients = [one + another for one, another in zip(gradients, added)]
        return number + 1, loss + more, gradients, logits.write(number, own)

    _, loss, gradients, logits = tf.while_loop(
        lambda number, *_: number < parts,
        add,
        [0, 0.0, zeros, logits],
        # One after the other: memory is what this is for.
        parallel_iterations=1,
    )
    return loss / parts, logits.concat(), [total / parts for total in gradients]


def _gradients(net, images, labels):
    with tf.GradientTape() as tape:
        logits = net(images, training=True)
        loss = net.compute_loss(images, labels, logits, training=True)
    gradients = tape.gradient(
        loss, net.trainable_weights, unconnected_gradients=tf.UnconnectedGradients.ZERO
    )
    return tf.cast(loss, tf.float32), tf.cast(logits, tf.float32), gradients


def _average_states(net, workers):
    """Makes moving averages, which every worker takes from its own images, those of all."""
    states = [v for v in net.non_trainable_variables if "float" in v.dtype]
    if states:
        for state, value in zip(states, workers.mean(states)):
            state.assign(value)
