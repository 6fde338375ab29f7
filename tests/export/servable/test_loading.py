"""Servables as a session: what is checked before the graph runs."""

import numpy as np
import pytest
import tensorflow as tf
from coda_keras_export.servable.loading import Servable
from servables import CLASSES, HEIGHT, WIDTH, ask, wrong_shapes
from tensorflow.core.framework import tensor_pb2

pytestmark = pytest.mark.tensorflow


def test_session_checks_of_what_the_signature_says(servable):
    image = np.full((1, HEIGHT, WIDTH, 3), 0.5, "float32")
    refused = tf.errors.InvalidArgumentError
    for signature, inputs in wrong_shapes():
        with pytest.raises(refused, match="must have shape"):
            ask(servable, signature, **inputs)
    with pytest.raises(refused, match="must be float32"):
        ask(servable, "classify", images=image.astype("float64"))
    with pytest.raises(refused, match="missing: class_ids"):
        ask(servable, "explain", images=image)
    with pytest.raises(refused, match="unknown: pictures"):
        ask(servable, "classify", images=image, pictures=image)
    proto = {"images": tf.make_tensor_proto(image)}
    with pytest.raises(refused, match="unknown: maps"):
        servable.predict("classify", proto, ["maps"])
    with pytest.raises(tf.errors.FailedPreconditionError, match="regress"):
        servable.predict("regress", proto)
    proto["images"].tensor_shape.dim[0].size = 5
    with pytest.raises(refused, match=r"holds 168 values, its shape .* says 840"):
        servable.predict("classify", proto)
    proto = {"images": tf.make_tensor_proto(image)}
    assert list(servable.predict("classify", proto, ["logits"])) == ["logits"]


def protos_that_stand_for_more():
    """Small messages of which `tf.make_ndarray` would make large arrays."""
    pixel = tensor_pb2.TensorProto(dtype=tf.float32.as_datatype_enum, float_val=[0.5])
    number = tensor_pb2.TensorProto(dtype=tf.int32.as_datatype_enum, int_val=[1])
    text = tensor_pb2.TensorProto(dtype=tf.string.as_datatype_enum, string_val=[b"x"])
    packed = tensor_pb2.TensorProto(dtype=tf.float32.as_datatype_enum, tensor_content=b"\0" * 8)
    odd = tensor_pb2.TensorProto(dtype=tf.float32.as_datatype_enum, tensor_content=b"\0" * 675)
    elsewhere = tensor_pb2.TensorProto(dtype=tf.int32.as_datatype_enum, float_val=[1.0, 2.0])
    yield "classify", "images", pixel, (100, HEIGHT, WIDTH, 3)
    yield "classify", "images", packed, (100, HEIGHT, WIDTH, 3)
    yield "classify", "images", odd, (1, HEIGHT, WIDTH, 3)
    yield "labels", "class_ids", number, (10**6,)
    yield "labels", "class_ids", elsewhere, (2,)
    yield "serving_bytes", "image_bytes", text, (1000,)


@pytest.mark.parametrize("signature, name, proto, shape", list(protos_that_stand_for_more()))
def test_a_proto_holds_as_many_values_as_its_shape_says(servable, signature, name, proto, shape):
    for size in shape:
        proto.tensor_shape.dim.add(size=size)
    with pytest.raises(tf.errors.InvalidArgumentError, match="values, its shape"):
        servable.predict(signature, {name: proto})


def test_values_are_read_wherever_a_proto_keeps_them(servable):
    ids = tensor_pb2.TensorProto(dtype=tf.int32.as_datatype_enum, int_val=[2, 0, 2])
    ids.tensor_shape.dim.add(size=3)
    packed = tf.make_tensor_proto(np.array([2, 0, 2], "int32"))
    assert packed.tensor_content
    for proto in (ids, packed):
        names = servable.predict("labels", {"class_ids": proto})["labels"]
        assert [name.decode() for name in names] == ["ship", "cat", "ship"]


def test_batches_are_bounded_by_the_size_of_images_or_by_choice(servable, path, pictures):
    most = 2**20 // (HEIGHT * WIDTH)
    refused = tf.errors.InvalidArgumentError
    pixel = tensor_pb2.TensorProto(dtype=tf.float32.as_datatype_enum, float_val=[0.5])
    for size in (most + 1, HEIGHT, WIDTH, 3):
        pixel.tensor_shape.dim.add(size=size)
    with pytest.raises(refused, match=f"at most {most} images .* Received {most + 1}"):
        servable.predict("classify", {"images": pixel})
    with pytest.raises(refused, match=f"at most {most} images"):
        ask(servable, "serving_bytes", image_bytes=[b""] * (most + 1))
    with pytest.raises(refused, match=f"at most {most} images"):
        ask(servable, "explain", images=np.float32(pictures), class_ids=[0] * (most + 1))
    pixel.tensor_shape.dim[0].size = 10**15
    with pytest.raises(refused, match="at most"):
        servable.predict("classify", {"images": pixel})
    small = Servable(path, max_batch_size=2)
    images = np.float32(pictures / 255)
    assert ask(small, "classify", images=images)["logits"].shape == (2, CLASSES)
    with pytest.raises(refused, match="at most 2 images"):
        ask(small, "classify", images=np.concatenate([images, images]))
    # No images, no bound: clients ask for all names at once.
    assert len(ask(small, "labels", class_ids=[0, 1, 2])["labels"]) == 3
