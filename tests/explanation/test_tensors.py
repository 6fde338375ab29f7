"""Explanations as trees in compiled code, by image, and in files."""

import dataclasses
import io
import zipfile

import keras
import numpy as np
import pytest
from conftest import BACKEND, set_weights
from keras import ops

from coda_keras import CoDANet, DAUConv2D, Explanation, LayerExplanation
from coda_keras.explanation.explanation import explain

# Torch's compiler looks at tensors of which Python code may not.
pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
NAMES = ("airplane", "cat", "größter Hund")


@pytest.fixture(scope="module")
def net():
    layers = [DAUConv2D(4, 2, 3), DAUConv2D(3, 2, 1)]
    net = CoDANet(layers, temperature=0.1, image_size=8, class_names=NAMES)
    set_weights(net, np.random.default_rng(2))
    return net


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(1).uniform(size=(5, 8, 8, 3)).astype("float32")


def assert_equal(one, other, tolerance=1e-4):
    assert type(one) is type(other)
    assert getattr(one, "class_names", None) == getattr(other, "class_names", None)
    assert one.arrays().keys() == other.arrays().keys()
    for name, value in one.arrays().items():
        value, expected = map(ops.convert_to_numpy, (value, getattr(other, name)))
        assert value.dtype == expected.dtype and value.shape == expected.shape, name
        np.testing.assert_allclose(value, expected, rtol=tolerance, atol=tolerance, err_msg=name)


def compiled(function):
    """By the compiler of the running backend, as its users write it."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        return tf.function(function)
    if BACKEND == "jax":
        import jax

        return jax.jit(function)
    import torch

    return torch.compile(function, backend="eager")


def test_explain_is_compiled_as_it_is(net, images):
    assert_equal(compiled(net.explain)(images), net.explain(images))
    ids = np.array([[0, 1], [2, 1], [0, 0], [1, 2], [2, 2]], "int32")
    assert_equal(compiled(net.explain)(images, ids), net.explain(images, ids))


def test_explanations_of_layers_are_compiled(net, images):
    explained = compiled(lambda x: net.explain_layer(x, 1, 2))(images)
    assert_equal(explained, net.explain_layer(images, 1, 2))


def test_compiled_code_takes_explanations(net, images):
    explanation = dataclasses.replace(net.explain(images, 1), weights=None)

    def halves(explanation, factor):
        return keras.tree.map_structure(
            lambda x: x if x is None else ops.cast(x, "float32") * factor, explanation
        )

    halved = compiled(halves)(explanation, 0.5)
    assert halved.weights is None and halved.class_names == NAMES
    np.testing.assert_allclose(
        ops.convert_to_numpy(halved.logits), explanation.numpy().logits / 2, rtol=1e-6
    )


def test_trees_of_keras_have_the_arrays_as_leaves(net, images):
    explanation = net.explain_layer(images, 1, 2)
    assert len(keras.tree.flatten(explanation)) == 5
    doubled = keras.tree.map_structure(lambda x: 2 * x, explanation)
    assert isinstance(doubled, LayerExplanation)
    np.testing.assert_allclose(doubled.numpy().weights, 2 * explanation.numpy().weights)


@pytest.mark.tensorflow
def test_data_sets_map_by_explain(net, images):
    import tensorflow as tf

    data = tf.data.Dataset.from_tensor_slices(images).batch(2).map(net.explain)
    explained = list(data)
    assert [len(explanation) for explanation in explained] == [2, 2, 1]
    assert_equal(explained[1], net.explain(images[2:4]))


@pytest.mark.skipif(BACKEND != "jax", reason="jax.vmap")
def test_explanations_by_vmap(net, images):
    import jax

    explained = jax.jit(jax.vmap(lambda image: net.explain(image[None], 1)))(images)
    np.testing.assert_allclose(
        explained.weights[:, 0], net.explain(images, 1).weights, rtol=1e-4, atol=1e-5
    )
    assert "float32" in repr(jax.eval_shape(net.explain, images).logits)
    assert repr(jax.eval_shape(net.explain, images)).startswith("Explanation(logits: (5, 3), ")


@pytest.mark.parametrize("class_ids", [1, [[0, 1], [2, 1], [0, 0], [1, 2], [2, 2]]])
@pytest.mark.parametrize(
    ("chosen", "rows"),
    [
        (0, [0]),
        (-1, [4]),
        (np.int64(3), [3]),
        (slice(1, 3), [1, 2]),
        (slice(None, None, -2), [4, 2, 0]),
        ([3, 0, 0], [3, 0, 0]),
        (np.array([True, False, False, True, False]), [0, 3]),
        (slice(2, 2), []),
    ],
)
def test_parts_by_image(chosen, rows, class_ids, net, images):
    whole = net.explain(images, class_ids)
    for explanation in (whole, whole.numpy()):
        part = explanation[chosen]
        assert len(part) == len(rows) and part.class_names == NAMES
        for name, value in part.arrays().items():
            assert isinstance(value, type(getattr(explanation, name))), name
            expected = ops.convert_to_numpy(getattr(whole, name))
            expected = expected if name == "bias" else expected[np.array(rows, int)]
            np.testing.assert_array_equal(ops.convert_to_numpy(value), expected)
    repr(whole[chosen])


def test_parts_are_of_one_image_in_turn(net, images):
    explanation = net.explain_layer(images, 1, 2)
    assert len(explanation) == 5
    parts = list(explanation)
    assert [len(part) for part in parts] == [1] * 5
    np.testing.assert_array_equal(parts[3].numpy().weights, explanation.numpy().weights[3:4])
    ids = ops.convert_to_tensor([4, 1], "int32")
    np.testing.assert_array_equal(
        explanation[ids].numpy().activation, explanation.numpy().activation[[4, 1]]
    )


@pytest.mark.parametrize("chosen", [5, -6, [0, 5], "cat", 1.0, (0, 1), None, [[0, 1]], [True]])
def test_images_that_are_not_there(chosen, net, images):
    with pytest.raises(IndexError):
        net.explain(images)[chosen]


def test_the_number_of_images_may_be_unknown(net, images):
    nothing = Explanation(None, None, None, None, None, np.float32(1), None)
    with pytest.raises(ValueError, match="number of images is not known"):
        len(nothing)


def test_names_of_the_classes_explained(net, images):
    assert net.explain(images[:3], [2, 0, 1]).names == ["größter Hund", "airplane", "cat"]
    assert net.explain(images[:1], "all").names == [list(NAMES)]
    unnamed = dataclasses.replace(net.explain(images[:2], [2, 0]), class_names=None)
    assert unnamed.names == ["class 2", "class 0"]
    assert unnamed[:0].names == []


def test_a_net_that_has_lost_its_names_explains_by_number(net, images):
    net = CoDANet([DAUConv2D(4, 2, 3)], class_names=NAMES)
    assert explain(net, images).class_names is None


@pytest.mark.parametrize("class_ids", [None, "all"])
def test_a_file_keeps_an_explanation(class_ids, net, images, tmp_path):
    explanation = net.explain(images, class_ids)
    explanation.save(tmp_path / "new/cats.npz")
    assert_equal(Explanation.load(tmp_path / "new/cats.npz"), explanation.numpy(), 0)
    some = dataclasses.replace(explanation, weights=None, bias=None, class_names=None)[:0]
    some.save(tmp_path / "new/cats.npz")
    assert_equal(Explanation.load(str(tmp_path / "new/cats.npz")), some.numpy(), 0)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["cats.npz"]


def test_a_file_keeps_an_explanation_of_a_layer(net, images, tmp_path):
    explanation = net.explain_layer(images, 1, 2)
    path = tmp_path / "layer.npz"
    explanation.save(path)
    assert_equal(LayerExplanation.load(path), explanation.numpy(), 0)
    with pytest.raises(ValueError, match=r"no Explanation as .*has the kind LayerExplanation"):
        Explanation.load(path)
    half = keras.tree.map_structure(lambda x: ops.cast(x, "bfloat16"), explanation)
    half.save(path)
    loaded = LayerExplanation.load(path)
    assert loaded.weights.dtype == np.float32
    np.testing.assert_allclose(loaded.weights, explanation.numpy().weights, rtol=1e-2)


def test_files_end_in_npz(net, images, tmp_path):
    with pytest.raises(ValueError, match=r"ends in .npz. Received: .*cats.npy"):
        net.explain(images).save(tmp_path / "cats.npy")
    with pytest.raises(FileNotFoundError):
        Explanation.load(tmp_path / "cats.npz")


def npy(array, pickled=False):
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=pickled)
    return buffer.getvalue()


class Code:
    def __reduce__(self):
        return pytest.fail, ("a pickle was executed",)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"format": npy(2)}, "it has the format 2, expected 1"),
        ({"format": None}, "it has no format"),
        ({"kind": npy("Other" * 100)}, "it has the kind OtherOther"),
        ({"more": npy(np.zeros(3))}, "arrays of other names, or of one name: more"),
        ({"logits": npy(np.array([Code()]), True)}, "logits.npy says .* of object"),
        ({"class_names": npy(np.array([Code()]), True)}, "class_names.npy says .* of object"),
        ({"logits": npy(np.zeros((5, 3)))[:-8]}, "logits.npy says"),
        ({"logits": npy(np.zeros((5, 3))) + b"0"}, "logits.npy says"),
        ({"logits": b"\x93NUMPY\x01\x00\x76\x00{'descr': [" + b"(" * 107}, "damaged"),
        ({"logits": b"no array"}, "damaged"),
        ({"logits": npy(np.zeros((4, 3)))}, r"has the shape"),
        ({"logits": npy(np.zeros((5, 2)))}, "class_names has the shape"),
        ({"logits": npy(np.zeros((5, 3), "int32"))}, "logits has the .* dtype int32"),
        ({"contribution_map": npy(np.zeros((5, 2, 8, 8)))}, "contribution_map has the shape"),
        ({"contribution_map": npy(np.zeros(5))}, "contribution_map has the shape"),
        ({"bias": npy(np.zeros(5))}, "bias has the shape"),
        ({"class_ids": npy(np.full(5, 3, "int32"))}, "class_ids has values of no class"),
        ({"class_ids": npy(np.full(5, -1, "int32"))}, "class_ids has values of no class"),
        ({"class_names": npy(np.array(["cat"]))}, "class_names has the shape"),
    ],
)
def test_files_of_others_are_refused(changes, reason, net, images, tmp_path):
    net.explain(images).save(tmp_path / "good.npz")
    path = tmp_path / "bad.npz"
    with zipfile.ZipFile(tmp_path / "good.npz") as good, zipfile.ZipFile(path, "w") as bad:
        contents = {name.removesuffix(".npy"): good.read(name) for name in good.namelist()}
        for name, content in {**contents, **changes}.items():
            if content is not None:
                bad.writestr(f"{name}.npy", content)
    with pytest.raises(ValueError, match=f"bad.npz is no Explanation as .*{reason}") as raised:
        Explanation.load(path)
    assert len(str(raised.value)) < 400


def test_damaged_files_are_refused(net, images, tmp_path):
    path = tmp_path / "bad.npz"
    net.explain(images).save(path)
    content = path.read_bytes()
    header = content.index(b"(5, 3)")
    damages = [b"", content[:100], content[: len(content) // 2], b"0" * 100]
    damages.append(content[:header] + b"(5, 4)" + content[header + 6 :])
    for damaged in damages:
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="no Explanation as `save` writes it, or damaged"):
            Explanation.load(path)
    with pytest.raises(ValueError, match="damaged"):
        Explanation.load(tmp_path)


def test_nothing_is_inflated_and_no_size_is_believed(net, images, tmp_path):
    path = tmp_path / "bomb.npz"
    net.explain(images).save(tmp_path / "good.npz")
    with np.load(tmp_path / "good.npz") as arrays:
        np.savez_compressed(path, **arrays)
    with pytest.raises(ValueError, match="is compressed or incomplete"):
        Explanation.load(path)
    header = io.BytesIO()
    shape = (10**9, 10**9)
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f8", "fortran_order": False, "shape": shape}
    )
    with zipfile.ZipFile(path, "w") as bad:
        bad.writestr("format.npy", npy(1))
        bad.writestr("kind.npy", npy("Explanation"))
        bad.writestr("logits.npy", header.getvalue())
    with pytest.raises(ValueError, match=r"logits.npy says"):
        Explanation.load(path)
