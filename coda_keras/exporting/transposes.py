"""Transposed convolutions of a graph as ordinary ones, for runtimes that are slow at the former.

Pullbacks fold by transposed convolutions. The same sums come from a convolution with the mirrored
kernel. With strides that has an output for each position between two strides, which
`depth_to_space` puts side by side.
"""

from typing import Any

import tensorflow as tf

TRANSPOSED = "Conv2DBackpropInput"


def as_convolutions(graph: tf.Graph) -> Any:
    """A copy of a graph whose transposed convolutions are ordinary ones.

    Args:
        graph: has transposed convolutions of images whose sizes are known, as
            `coda_keras.layers.windows.fold` makes them; others stay what they are.

    Returns:
        The `GraphDef` of the copy, with the same names.
    """
    definition = graph.as_graph_def()
    for node in [node for node in definition.node if node.op == TRANSPOSED]:
        _, kernel, values = graph.get_operation_by_name(node.name).inputs
        strides, size = node.attr["strides"].list.i[1], kernel.shape[0]
        if node.attr["padding"].s == b"VALID":
            cut = 0
        elif strides == 1 and size % 2:
            cut = size // 2
        else:
            continue
        with tf.Graph().as_default() as part:
            inputs = [
                tf.compat.v1.placeholder(tensor.dtype, tensor.shape, name)
                for name, tensor in (("values", values), ("kernel", kernel))
            ]
            tf.identity(transposed(*inputs, strides, cut), "sums")
        _splice(definition, node, part.as_graph_def())
    return definition


def transposed(values: tf.Tensor, kernel: tf.Tensor, strides: int, cut: int) -> tf.Tensor:
    """The transpose of a convolution, by a convolution.

    Args:
        values: `(B, h, w, n)`.
        kernel: `(k, k, C, n)`, of the convolution.
        strides: int.
        cut: int, rows and columns to leave out on each side.

    Returns:
        `(B, H, W, C)` with `H = (h - 1) strides + k - 2 cut`.
    """
    size, _, channels, depth = kernel.shape
    # So many values an output sees along an axis.
    seen = -(-size // strides)
    fill = (0, seen * strides - size)
    kernel = tf.pad(kernel, (fill, fill, (0, 0), (0, 0)))
    kernel = tf.reshape(kernel, (seen, strides, seen, strides, channels, depth))
    # OpenVINO reverses one axis at a time.
    kernel = tf.reverse(tf.reverse(kernel, (0,)), (2,))
    kernel = tf.transpose(kernel, (0, 2, 5, 1, 3, 4))
    kernel = tf.reshape(kernel, (seen, seen, depth, strides**2 * channels))
    if strides == 1 and 2 * cut == size - 1:
        return tf.nn.conv2d(values, kernel, 1, "SAME")
    around = (seen - 1, seen - 1)
    sums = tf.nn.conv2d(tf.pad(values, ((0, 0), around, around, (0, 0))), kernel, 1, "VALID")
    if strides > 1:
        sums = tf.nn.depth_to_space(sums, strides)
    height, width = ((length - 1) * strides + size - cut for length in values.shape[1:3])
    return sums[:, cut:height, cut:width]


def _splice(definition, node, part):
    """Puts a graph of `values` and `kernel` in the place of a node, whose name its `sums` get."""
    outer = {"values": node.input[2], "kernel": node.input[1]}

    def renamed(name):
        return outer.get(name) or (node.name if name == "sums" else f"{node.name}/{name}")

    definition.node.remove(node)
    for inner in part.node:
        if inner.op == "Placeholder":
            continue
        inner.input[:] = [renamed(name) for name in inner.input]
        inner.name = renamed(inner.name)
        definition.node.append(inner)
