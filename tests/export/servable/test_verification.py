"""What is not published: servables that would not serve, or answer otherwise than the net."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from coda_keras_export.package import package
from coda_keras_export.servable import verification
from servables import CLASSES, NAMES, tiny_net

from coda_keras import CoDANet, DAUConv2D, DynamicLinear
from coda_keras.exporting import signatures

pytestmark = pytest.mark.tensorflow


class Fault(DynamicLinear):
    """A layer that passes its input on, in a way that servers do not run or that lies."""

    def __init__(self, kind, **kwargs):
        super().__init__(**kwargs)
        self.kind = kind

    def linearize(self, inputs):
        if self.kind == "python":
            shape = inputs.shape
            inputs = tf.py_function(lambda x: x, [inputs], inputs.dtype)
            inputs.set_shape(shape)
        elif self.kind == "xla":
            inputs = tf.function(tf.identity, jit_compile=True)(inputs)
        elif not tf.executing_eagerly():
            inputs = 1.1 * inputs
        return inputs, lambda cotangent: cotangent

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "kind": self.kind}


@pytest.mark.parametrize(
    "kind, sentence",
    [("python", "EagerPyFunc"), ("xla", "jit_compile"), ("lie", "does not answer as the net")],
)
def test_a_servable_that_would_not_serve_is_not_published(kind, sentence, tmp_path):
    keras.saving.register_keras_serializable("test_export")(Fault)
    net = CoDANet([Fault(kind), DAUConv2D(CLASSES, 2, 3)], temperature=1.0, image_size=6)
    with pytest.raises(ValueError, match=sentence):
        package(net, tmp_path, "faulty")
    assert list(tmp_path.iterdir()) == []


WRONG = {
    "probabilities": tf.nn.softmax,
    "class_ids": lambda values: (values + 1) % CLASSES,
    "bias": lambda values: 2 * values,
    "residual": lambda values: values + 0.01,
    "offset": lambda values: values + 0.1,
    "labels": lambda values: values[::-1],
    "logits": lambda values: values + 0.01,
    "contribution_map": lambda values: tf.transpose(values, (0, 2, 1)),
    "contributions": lambda values: values[..., ::-1],
    "weights": lambda values: tf.abs(values),
}


def tell_lies(monkeypatch, signature, output, lie):
    """Makes one output of a signature wrong."""
    honest = signatures.signatures

    def lying(net, labels=None):
        made = honest(net, labels)
        function, specs = made[signature]

        def wrong(*args, **kwargs):
            outputs = function(*args, **kwargs)
            return {**outputs, output: lie(outputs[output])}

        return {**made, signature: (wrong, specs)}

    monkeypatch.setattr(signatures, "signatures", lying)


EXPLANATION = ("logits", "contribution_map", "contributions", "weights", "bias")
PREDICTION = ("logits", "probabilities", "class_ids", "contribution_map")
OUTPUTS = {
    "serving_default": PREDICTION,
    "serving_bytes": PREDICTION,
    "classify": ("logits", "probabilities"),
    "classify_without": ("logits", "probabilities"),
    "explain": (*EXPLANATION, "residual", "offset"),
    "labels": ("labels",),
}


def test_every_output_is_known(servable):
    outputs = {name: set(signature.outputs) for name, signature in servable.signatures.items()}
    assert outputs == {name: set(names) for name, names in OUTPUTS.items()}


@pytest.mark.parametrize(
    "signature, output", [(name, output) for name in OUTPUTS for output in OUTPUTS[name]]
)
def test_no_output_of_a_published_servable_is_wrong(
    signature, output, net, path, servable, monkeypatch
):
    # The function tells the same lie: what an output is by its name stands above it.
    tell_lies(monkeypatch, signature, output, WRONG[output])
    honest = servable.predict

    def predict(asked, inputs):
        answer = honest(asked, inputs)
        if asked != signature:
            return answer
        return {**answer, output: np.asarray(WRONG[output](answer[output]))}

    monkeypatch.setattr(servable, "predict", predict)
    monkeypatch.setattr(verification, "Servable", lambda *_, **__: servable)
    sentence = rf"does not answer as the net does: {signature}\.{output} "
    with pytest.raises(ValueError, match=sentence):
        verification.verify(path, net, NAMES)


def test_an_honest_servable_is_verified(net, path):
    verification.verify(path, net, NAMES)


def test_a_servable_of_images_too_large_for_two_in_a_request_is_verified(net, path, monkeypatch):
    monkeypatch.setattr("coda_keras_export.api.MAX_PIXELS", 1)
    verification.verify(path, net, NAMES)


def test_an_output_that_nothing_else_tells_is_that_of_its_function(tmp_path, monkeypatch):
    honest, net = signatures.signatures, tiny_net()

    def extended(net, labels=None):
        function, specs = honest(net, labels)["classify"]

        def brightness(images):
            # Like a kernel that a server runs otherwise than eager TensorFlow does.
            wrong = 0.0 if tf.executing_eagerly() else error
            return {**function(images), "brightness": tf.reduce_mean(images, (1, 2, 3)) + wrong}

        return {**honest(net, labels), "classify": (brightness, specs)}

    monkeypatch.setattr(signatures, "signatures", extended)
    error = 0.1
    with pytest.raises(ValueError, match=r"classify\.brightness differs"):
        package(net, tmp_path, "tiny")
    error = 0.0
    assert package(net, tmp_path, "tiny").name == "1"


def test_a_tie_of_classes_may_be_broken_either_way(tmp_path, monkeypatch):
    net = tiny_net()
    layer = net.body[-1]
    layer.kernel.assign(np.take(layer.kernel.numpy(), [0, 0, 0], axis=-2))
    layer.bias.assign(np.take(layer.bias.numpy(), [0, 0, 0], axis=-1))
    tell_lies(monkeypatch, "serving_default", "class_ids", lambda ids: ids + 2)
    assert package(net, tmp_path, "tiny").name == "1"
