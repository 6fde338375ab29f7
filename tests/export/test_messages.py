"""The client's own messages against those of the API, and arrays there and back."""

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from coda_keras_export import arrays, messages
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    predict_pb2,
)

pytestmark = pytest.mark.tensorflow
PAIRS = [
    (messages.Tensor, tensor_pb2.TensorProto),
    (messages.SignatureMap, get_model_metadata_pb2.SignatureDefMap),
    (messages.PredictRequest, predict_pb2.PredictRequest),
    (messages.PredictResponse, predict_pb2.PredictResponse),
    (messages.MetadataRequest, get_model_metadata_pb2.GetModelMetadataRequest),
    (messages.MetadataResponse, get_model_metadata_pb2.GetModelMetadataResponse),
    (messages.StatusRequest, get_model_status_pb2.GetModelStatusRequest),
    (messages.StatusResponse, get_model_status_pb2.GetModelStatusResponse),
]


def compare(ours, theirs, seen):
    """Every field of ours is one of theirs: number, kind and what it holds."""
    if ours.full_name in seen:
        return
    seen.add(ours.full_name)
    for field in ours.fields:
        other = theirs.fields_by_name[field.name]
        kind = field.TYPE_INT32 if other.type == other.TYPE_ENUM else other.type
        assert (field.number, field.type) == (other.number, kind), field.full_name
        assert field.is_repeated == other.is_repeated, field.full_name
        if field.message_type:
            compare(field.message_type, other.message_type, seen)


@pytest.mark.parametrize("ours, theirs", PAIRS)
def test_fields_are_the_apis(ours, theirs):
    compare(ours.DESCRIPTOR, theirs.DESCRIPTOR, set())


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
    ours = messages.Tensor()
    arrays.fill(ours, values)
    theirs = tensor_pb2.TensorProto.FromString(ours.SerializeToString())
    np.testing.assert_array_equal(tf.make_ndarray(theirs), values)
    expected = np.asarray(values)
    proto = tf.make_tensor_proto(expected)
    found = arrays.read(messages.Tensor.FromString(proto.SerializeToString()))
    np.testing.assert_array_equal(found, tf.make_ndarray(proto))
    assert found.dtype == tf.make_ndarray(proto).dtype


@pytest.mark.parametrize("number, field", sorted(arrays.FIELDS.items()))
def test_values_that_are_not_packed_are_read_and_the_last_stands_for_more(number, field):
    values = [b"a", b"b"] if number == arrays.STRING else [0, 1]
    proto = tensor_pb2.TensorProto(dtype=number, **{field: values})
    proto.tensor_shape.dim.add(size=4)
    found = arrays.read(messages.Tensor.FromString(proto.SerializeToString()))
    np.testing.assert_array_equal(found, tf.make_ndarray(proto))


def test_other_dtypes_are_refused():
    with pytest.raises(ValueError, match="Received: complex128"):
        arrays.fill(messages.Tensor(), np.zeros(2, complex))
    with pytest.raises(ValueError, match="not 4"):
        arrays.read(messages.Tensor(dtype=4))


WITHOUT_TENSORFLOW = """
import sys
sys.modules["tensorflow"] = sys.modules["keras"] = None  # Every import fails from here on.
import numpy as np
from pathlib import Path
from PIL import Image
from coda_keras_export import cli, client

outputs = {"contribution_map": np.ones((1, 8, 8)), "weights": np.ones((1, 8, 8, 6))}
client.save_map(Path("map.png"), Image.new("RGB", (8, 8)), outputs, "title")
assert not any(name.partition(".")[0] == "coda_keras" for name in sys.modules)
Image.new("RGB", (8, 8)).save("a.png")
sys.argv = ["client.py", "--server", "localhost:1", "--model", "tiny", "a.png"]
cli.run(client.main)
"""


def test_the_client_needs_no_tensorflow(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TENSORFLOW],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 2, done.stderr
    assert "UNAVAILABLE" in done.stderr
    assert done.stderr.count("\n") == 1
    assert (tmp_path / "map.png").stat().st_size > 1000
