"""Arrays to the messages of the API and back, against TensorFlow's own."""

import numpy as np
import pytest
import tensorflow as tf
from coda_keras_export.api import arrays, serving_pb2
from tensorflow.core.framework import tensor_pb2

pytestmark = pytest.mark.tensorflow

VALUES = [
    np.linspace(-1, 1, 6, dtype="float32").reshape(2, 3),
    np.array([np.pi, np.nan]),
    np.array([[-(2**31)], [7]], "int32"),
    np.array([2**62], "int64"),
    np.array([True, False]),
    np.array([b"", b"\xff\0x"], object),
    np.array([b"one", b"two"]),
    np.zeros((0, 3), "float32"),
    np.float32(2.5),
]


@pytest.mark.parametrize("values", VALUES)
def test_tensorflow_reads_what_we_write_and_we_what_it_writes(values):
    ours = serving_pb2.TensorProto()
    arrays.fill(ours, values)
    theirs = tensor_pb2.TensorProto.FromString(ours.SerializeToString())
    np.testing.assert_array_equal(tf.make_ndarray(theirs), values)
    expected = np.asarray(values)
    proto = tf.make_tensor_proto(expected)
    array = arrays.read(serving_pb2.TensorProto.FromString(proto.SerializeToString()))
    np.testing.assert_array_equal(array, tf.make_ndarray(proto))
    assert array.dtype == tf.make_ndarray(proto).dtype


@pytest.mark.parametrize("number, field", sorted(arrays.FIELDS.items()))
def test_values_that_are_not_packed_are_read_and_the_last_stands_for_more(number, field):
    values = [b"a", b"b"] if number == serving_pb2.DT_STRING else [0, 1]
    proto = tensor_pb2.TensorProto(dtype=number, **{field: values})
    proto.tensor_shape.dim.add(size=4)
    array = arrays.read(serving_pb2.TensorProto.FromString(proto.SerializeToString()))
    np.testing.assert_array_equal(array, tf.make_ndarray(proto))


def test_other_dtypes_are_refused():
    with pytest.raises(ValueError, match="Received: complex128"):
        arrays.fill(serving_pb2.TensorProto(), np.zeros(2, complex))
    with pytest.raises(ValueError, match="not 4"):
        arrays.read(serving_pb2.TensorProto(dtype=4))
