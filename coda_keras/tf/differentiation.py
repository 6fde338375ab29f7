"""Graph compilation and gradients by TensorFlow."""

import tensorflow as tf


def compiled(function):
    """Compiles a function of tensors; sizes that vary between calls are traced only once more."""
    return tf.function(function, reduce_retracing=True, autograph=False)


def gradient(function, inputs):
    """Gradient of the sum of `function(inputs)` with respect to `inputs`."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(inputs)
        outputs = function(inputs)
    return tape.gradient(outputs, inputs, unconnected_gradients=tf.UnconnectedGradients.ZERO)
