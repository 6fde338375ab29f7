"""Values that no net can make sense of are refused where they are known, on every backend."""

import keras
import numpy as np
import pytest
from conftest import BACKEND
from keras import ops

from coda_keras import (
    CoDANet,
    DAUConv2D,
    OneVsAllAccuracy,
    OneVsAllCrossentropy,
    attribution,
    backend,
    encode,
    explain,
    explain_dataset,
    explain_layer,
    unchecked,
)

CLASSES = 3


@pytest.fixture(scope="module")
def net():
    return CoDANet([DAUConv2D(4, 2, 3), DAUConv2D(CLASSES, 2, 1)], temperature=2, image_size=6)


@pytest.fixture
def images(rng):
    return rng.uniform(size=(2, 6, 6, 3)).astype("float32")


WRONG = {
    "8 bits": (lambda x: 255 * x, "Received .* to 25.*; divide 8-bit images by 255"),
    "normalised": (lambda x: (x - 0.45) / 0.22, "Received -.* to .*; undo their normalisation"),
    "NaN": (lambda x: np.where(x > 0.9, np.nan, x), "Received NaN"),
    "infinite": (lambda x: np.where(x > 0.9, np.inf, x), "Received NaN or infinite"),
}
CALLS = {
    "explain": lambda net, x: net.explain(x),
    "explain_layer": lambda net, x: net.explain_layer(x, 1, 0),
    "call": lambda net, x: net(x),
    "linearize": lambda net, x: net.linearize(x),
    "evidence": lambda net, x: net.evidence(x),
    "explain_dataset": lambda net, x: next(explain_dataset(net, [x], progress=False)),
    "attribution": lambda net, x: attribution.maps(net, x, 0),
}


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("call", CALLS)
def test_images_outside_of_the_unit_range_are_refused(wrong, call, net, images):
    change, message = WRONG[wrong]
    with pytest.raises(ValueError, match=rf"image values in \[0, 1\]. {message}"):
        CALLS[call](net, change(images).astype("float32"))


def test_encoded_images_are_looked_at_too(net, images):
    encoded = np.concatenate([images, 1 - images], axis=-1)
    net.explain(encoded)
    encoded[0, 1, 2, 5] = -1
    with pytest.raises(ValueError, match="Received -1 to"):
        net.explain(encoded)


def test_rounding_is_forgiven(net, images):
    net.explain(np.clip(images * 1.5, -1e-6, 1 + 1e-6).astype("float32"))


def test_the_switch_leaves_the_values_alone(net, images):
    with unchecked():
        explanation = net.explain(
            255 * images, ops.convert_to_tensor(np.array([0, 7]), "int32")
        ).numpy()
        OneVsAllCrossentropy()(np.array([7]), np.zeros((1, CLASSES), "float32"))
    assert np.isfinite(explanation.logits).all()
    # As in compiled code.
    assert (
        np.isnan(explanation.contribution_map[1]).all()
        and np.isfinite(explanation.contribution_map[0]).all()
    )
    with pytest.raises(ValueError, match="by 255"):
        net.explain(255 * images)


def test_the_switch_does_not_hide_shapes(net, images):
    with unchecked(), pytest.raises(ValueError, match="3 channels"):
        net.explain(images[..., :2])


def test_compiled_code_does_not_look_at_images(net, images):
    run = backend.compiled(lambda x: net(x), net)
    assert np.isfinite(run(255 * images)).all()


def test_symbolic_images_have_no_values():
    assert encode(keras.Input((4, 4, 3))).shape == (None, 4, 4, 6)


ONE_HOT = np.eye(CLASSES, dtype="int32")[[2, 0]]


@pytest.mark.parametrize("form", ["array", "list", "tensor"])
def test_one_hot_rows_are_no_class_ids(form, net, images):
    given = {"array": ONE_HOT, "list": ONE_HOT.tolist(), "tensor": ops.convert_to_tensor(ONE_HOT)}
    with pytest.raises(ValueError, match=r"shape \(2, 3\) are one-hot rows.*argmax\(axis=1\)"):
        net.explain(images, given[form])


def test_one_hot_rows_are_no_class_ids_of_other_methods_either(net, images):
    with pytest.raises(ValueError, match="one-hot rows"):
        attribution.maps(net, images, ONE_HOT, "contributions")


def test_rows_of_zeros_and_ones_are_class_ids_where_they_are_no_one_hot_rows(net, images):
    for ids in ([[0, 1], [1, 0]], [[0, 1, 1], [0, 0, 1]]):
        np.testing.assert_array_equal(net.explain(images, ids).numpy().class_ids, ids)
    two = CoDANet([DAUConv2D(2, 2, 3)], temperature=1, image_size=6)
    np.testing.assert_array_equal(
        two.explain(images, [[0, 1], [1, 0]]).numpy().class_ids[0], [0, 1]
    )


# Labels.


@pytest.mark.parametrize("labels", [[0, CLASSES], [-1, 0], [[0], [9]]])
@pytest.mark.parametrize("as_tensor", [True, False])
def test_labels_out_of_range_are_refused(labels, as_tensor):
    labels = np.array(labels, "int32")
    given = ops.convert_to_tensor(labels) if as_tensor else labels
    message = (
        f"Labels must lie in 0 to 2, as there are 3 logits. .*{labels.min()} to {labels.max()}"
    )
    logits = np.zeros((2, CLASSES), "float32")
    with pytest.raises(ValueError, match=message):
        OneVsAllCrossentropy()(given, logits)
    with pytest.raises(ValueError, match=message):
        OneVsAllAccuracy().update_state(given, logits)


@pytest.mark.skipif(BACKEND == "torch", reason="torch runs functions as they are")
def test_labels_out_of_range_make_compiled_losses_nan_or_fail():
    def run(labels):
        logits = ops.convert_to_tensor(np.zeros((2, CLASSES), "float32"))
        losses = OneVsAllCrossentropy(reduction="none")(labels, logits)
        return ops.convert_to_tensor(losses)

    right, wrong = np.array([0, 2], "int32"), np.array([0, 5], "int32")
    if BACKEND == "tensorflow":
        import tensorflow as tf

        graph, xla = (tf.function(run, autograph=False, jit_compile=jit) for jit in (False, True))
        with pytest.raises(tf.errors.InvalidArgumentError, match="Labels must lie in 0 to 2"):
            graph(wrong)
    else:
        import jax

        xla = jax.jit(run)
    assert np.isfinite(ops.convert_to_numpy(xla(right))).all()
    np.testing.assert_array_equal(np.isnan(ops.convert_to_numpy(xla(wrong))), [False, True])


# Models and batches.


@pytest.mark.parametrize(
    ("call", "or_another"),
    [
        (explain, ", or a built Keras model with one output [^.]*"),
        (lambda model, x: explain_layer(model, x, 1, 0), ""),
    ],
    ids=["explain", "explain_layer"],
)
def test_other_models_are_refused(call, or_another, images):
    plain = keras.Sequential([keras.Input((6, 6, 3)), keras.layers.Flatten()], name="plain")
    with pytest.raises(ValueError, match=r"Expected a CoDANet\. Received: .*plain"):
        call(plain, images)
    sentence = rf"Expected a CoDANet{or_another}\. Received: .*model.keras"
    with pytest.raises(ValueError, match=sentence):
        call("model.keras", images)
    with pytest.raises(ValueError, match="Expected a CoDANet"):
        explain_dataset(plain, [images])


@pytest.mark.parametrize("call", ["explain", "explain_layer"])
def test_single_images_and_none_are_refused(call, net, images):
    with pytest.raises(ValueError, match=r"batch of images.*\(6, 6, 3\).*image\[None\]"):
        CALLS[call](net, images[0])
    with pytest.raises(ValueError, match="at least one image"):
        CALLS[call](net, images[:0])


def test_a_net_that_is_not_built_says_so_and_is_built_by_its_first_images(images):
    net = CoDANet([DAUConv2D(CLASSES, 2, 3)], temperature=1)
    with pytest.raises(ValueError, match=r"not built yet.*image_size"):
        _ = net.classes
    net.explain(images)
    assert net.built and net.classes == CLASSES


def test_a_position_is_a_pair(net, images):
    with pytest.raises(
        ValueError, match=r"must be two integers \(row, column\). Received: position=3"
    ):
        net.explain_layer(images, 1, 0, position=3)
