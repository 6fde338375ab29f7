"""Servables of tiny nets, what is asked of them, and what the oracle says to that."""

import keras
import numpy as np
import oracle
import pytest
import tensorflow as tf
from coda_keras_export.package import package
from coda_keras_export.servable.loading import Servable
from conftest import as_oracle, set_weights
from google.protobuf import text_format
from shared_folders import filled
from tensorflow_serving.config import model_server_config_pb2

from coda_keras import CoDANet, DAUConv2D

HEIGHT, WIDTH, CLASSES = 8, 7, 3
NAMES = ["cat", "dog", "ship"]


def tiny_net(seed=1, size=(HEIGHT, WIDTH), **kwargs):
    layers = [DAUConv2D(4, 2, 3, strides=2, **kwargs), DAUConv2D(CLASSES, 4, 1, **kwargs)]
    net = CoDANet(layers, temperature=2.0, image_size=size, **kwargs)
    if net.built:
        set_weights(net, np.random.default_rng(seed))
    return net


@pytest.fixture(scope="module")
def net():
    return tiny_net()


@pytest.fixture(scope="session")
def path(tmp_path_factory):
    """A version of such a net."""

    def fill(folder):
        package(tiny_net(), folder, "tiny", labels=NAMES)

    return filled(tmp_path_factory, "servables", fill) / "tiny/1"


@pytest.fixture(scope="module")
def servable(path):
    return Servable(path)


@pytest.fixture
def pictures(rng):
    return rng.integers(0, 256, (2, HEIGHT, WIDTH, 3), "uint8")


@pytest.fixture(scope="session")
def small_servable(tmp_path_factory):
    """A version of the smallest net, of images of 4x4 pixels and 3 classes; to be copied."""

    def fill(folder):
        keras.utils.set_random_seed(1)
        net = CoDANet([DAUConv2D(3, 2, 3, strides=2)], temperature=1.0, image_size=4)
        package(net, folder, "tiny")

    return filled(tmp_path_factory, "small", fill) / "tiny/1"


def ask(servable, signature, **inputs):
    protos = {name: tf.make_tensor_proto(value) for name, value in inputs.items()}
    return servable.predict(signature, protos)


def encoded(*pictures):
    return [tf.io.encode_png(picture).numpy() for picture in pictures]


def by_oracle(net, picture, class_id=None):
    """Logits, the class explained and its contributions, in float64 by plain loops."""
    image = oracle.encode(picture / 255)
    layers = [as_oracle(layer) for layer in net.body]
    logits = oracle.logits(image, layers, net.temperature, net.logit_bias)
    class_id = int(np.argmax(logits)) if class_id is None else class_id
    weights = oracle.weights_of_logits(image, layers, net.temperature)[class_id]
    return logits, class_id, weights * image


def wrong_shapes():
    image = np.full((1, HEIGHT, WIDTH, 3), 0.5, "float32")
    ids = np.zeros(1, "int32")
    yield "serving_default", {"images": image[0]}
    yield "serving_default", {"images": image[None]}
    yield "serving_default", {"images": image[:, 1:]}
    yield "classify", {"images": image[..., :2]}
    yield "classify", {"images": image.transpose(0, 2, 1, 3)}
    yield "explain", {"images": image, "class_ids": ids[0]}
    yield "explain", {"images": image, "class_ids": ids[None]}
    yield "serving_bytes", {"image_bytes": [[b"no image"]]}


def served(root):
    config = text_format.Parse(
        (root / "models.config").read_text(), model_server_config_pb2.ModelServerConfig()
    )
    return [model.name for model in config.model_config_list.config]
