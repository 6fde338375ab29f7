"""Functions of batches compiled by TensorFlow and spread over the replicas of a strategy."""

import tensorflow as tf


def compile_step(step, strategy=None):
    """Compiles `step` and runs it on all replicas of a strategy.

    Every batch is cut into equal parts in order, one for each replica; a batch that does not
    divide is filled up with zeros, whose results are dropped.

    Args:
        step: function of one or more tensors `(B, ...)` that returns a dict of tensors, each
            `(B, ...)` or a scalar equal on all replicas.
        strategy: a `tf.distribute.Strategy` of this process, or None for a single replica.

    Returns:
        A function of one or more NumPy arrays `(B, ...)` that returns a dict of NumPy arrays,
        in the order of its input.

    Raises:
        ValueError: if `strategy` is no `tf.distribute.Strategy`.
    """
    strategy = strategy or tf.distribute.get_strategy()
    if not isinstance(strategy, tf.distribute.Strategy):
        raise ValueError(f"`strategy` must be a tf.distribute.Strategy. Received: {strategy!r}.")
    replicas = strategy.num_replicas_in_sync

    # Batches of several sizes share one trace.
    @tf.function(reduce_retracing=True, autograph=False)
    def compiled(*arguments):
        return strategy.run(step, arguments)

    def spread(array):
        if replicas == 1:
            return tf.convert_to_tensor(array)
        share = max(1, -(-len(array) // replicas))
        filler = [(0, share * replicas - len(array))] + [(0, 0)] * (array.ndim - 1)
        filled = tf.pad(array, filler)

        def part(context):
            start = context.replica_id_in_sync_group * share
            return filled[start : start + share]

        return strategy.experimental_distribute_values_from_function(part)

    def gather(values, count):
        parts = strategy.experimental_local_results(values)
        if parts[0].shape.rank == 0:
            return parts[0].numpy()
        return tf.concat(parts, axis=0)[:count].numpy()

    def run(*arrays):
        results = compiled(*(spread(array) for array in arrays))
        return {name: gather(values, len(arrays[0])) for name, values in results.items()}

    return run
