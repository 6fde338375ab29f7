"""Transposed convolutions beside the ordinary ones that take their place."""

import numpy as np
import pytest
import tensorflow as tf
from servables import CLASSES

from coda_keras import CoDANet, DAUConv2D
from coda_keras.exporting import graph
from coda_keras.exporting.transposes import TRANSPOSED, as_convolutions, transposed

pytestmark = pytest.mark.tensorflow


@pytest.mark.parametrize(
    "size, strides, cut",
    [(3, 1, 1), (5, 1, 2), (3, 1, 0), (1, 1, 0), (3, 2, 0), (7, 3, 0), (5, 2, 1), (2, 3, 0)],
)
def test_sums_are_those_of_a_transposed_convolution(size, strides, cut, rng):
    values = rng.standard_normal((2, 4, 5, 6)).astype("float32")
    kernel = rng.standard_normal((size, size, 3, 6)).astype("float32")
    whole = [(length - 1) * strides + size for length in (4, 5)]
    shape = np.array([2, *whole, 3], "int32")
    right = np.asarray(tf.nn.conv2d_transpose(values, kernel, shape, strides, "VALID"))
    right = right[:, cut : whole[0] - cut, cut : whole[1] - cut]
    sums = transposed(tf.constant(values), tf.constant(kernel), strides, cut)
    np.testing.assert_allclose(sums, right, rtol=1e-5, atol=1e-5)


def test_a_graph_answers_the_same_without_transposed_convolutions(rng):
    net = CoDANet(
        [DAUConv2D(4, 2, 5, strides=2), DAUConv2D(CLASSES, 2, 3)], temperature=3, image_size=(9, 8)
    )
    function = graph.function(net).get_concrete_function()
    assert TRANSPOSED in {node.op for node in function.graph.as_graph_def().node}
    definition = as_convolutions(function.graph)
    assert TRANSPOSED not in {node.op for node in definition.node}
    names = [tensor.name for tensor in function.inputs]
    inputs = [rng.random((2, 9, 8, 3), "float32"), np.array([-1, 1], "int32")]

    @tf.function(autograph=False)
    def copy(*given):
        outputs = [tensor.name for tensor in function.outputs]
        captured = map(tf.compat.v1.get_default_graph().capture, function.captured_inputs)
        known = dict(zip(names, [*given, *captured]))
        return tf.graph_util.import_graph_def(definition, known, outputs, name="")

    right = function(*map(tf.constant, inputs))
    for name, values in zip(sorted(right), copy(*map(tf.constant, inputs))):
        np.testing.assert_allclose(values, right[name], rtol=1e-4, atol=1e-5, err_msg=name)
