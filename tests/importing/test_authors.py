"""Nets of the authors' code: their layout, by an oracle, and their modules' numbers, by a twin."""

import keras
import numpy as np
import pytest
from conftest import EXACT_DTYPE

from coda_keras import CoDANet, DAUConv2D
from coda_keras.importing import authors
from coda_keras.importing.catalogue import FAMILIES, temperature
from coda_keras.layers import TemperatureScaling

NETS = FAMILIES["authors"].nets


@pytest.fixture(scope="module")
def small():
    """S-CoDA with layers of rank 1."""
    return CoDANet.from_preset("s_coda", rank_scale=0.02, temperature=50.0)


def test_their_convolutions_hold_the_same_weights():
    keras.utils.set_random_seed(0)
    layer = DAUConv2D(filters=3, rank=2, kernel_size=3, strides=2, dtype=EXACT_DTYPE)
    net = CoDANet([layer], dtype=EXACT_DTYPE)
    images = np.random.default_rng(0).uniform(size=(2, 5, 7, 6))
    layer.build(images.shape)
    first, second, bias = authors.state_dict(net).values()
    assert first.shape == (2, 6, 3, 3)
    assert second.shape == (6 * 3 * 3 * 3, 2, 1, 1)
    found = keras.ops.convert_to_numpy(layer.dynamic_weights(images))
    padded = np.pad(images.transpose(0, 3, 1, 2), ((0, 0), (0, 0), (1, 1), (1, 1)))
    for row, column in np.ndindex(found.shape[1:3]):
        window = padded[:, :, 2 * row : 2 * row + 3, 2 * column : 2 * column + 3]
        projected = np.einsum("bcij,rcij->br", window, first)
        vectors = projected @ second[:, :, 0, 0].T + bias
        # As the authors view the channels: entries of the patch, then units.
        vectors = vectors.reshape(2, 6 * 3 * 3, 3)
        norm = np.linalg.norm(vectors, axis=1, keepdims=True)
        vectors = vectors / ((1 + norm**2) / norm)
        expected = vectors.reshape(2, 6, 3, 3, 3).transpose(0, 4, 2, 3, 1)
        np.testing.assert_allclose(found[:, row, column], expected, rtol=1e-4, atol=1e-6)


def test_weights_come_back_as_they_went(small):
    net = authors.net(authors.state_dict(small), temperature=50.0)
    assert net.name == "s_coda" and net.class_names[:2] == ["airplane", "automobile"]
    assert net.get_config() == {
        **small.get_config(),
        "class_names": net.class_names,
        "layers": net.get_config()["layers"],
    }
    for layer, other in zip(net.body, small.body):
        assert layer.get_config() == {**other.get_config(), "dtype": layer.get_config()["dtype"]}
    for weight, other in zip(net.get_weights(), small.get_weights()):
        np.testing.assert_array_equal(weight, other)
    made = authors.arguments(net)
    assert made["paddings"] == [1] * 8 + [0] and made["strides"] == [1, 1, 2, 1, 1, 2, 1, 1, 1]
    assert made["logit_temperature"] == 50.0 and made["ranks"] == [1] * 9


def test_other_classes_have_no_names():
    few = CoDANet.from_preset("s_coda", classes=4, rank_scale=0.02)
    assert authors.net(authors.state_dict(few), temperature=1.0).class_names is None


def test_units_without_a_bias_get_zeros_there():
    net = CoDANet([DAUConv2D(2, 1, 3, use_bias=False)], image_size=4)
    assert not authors.state_dict(net)["0.weight_mod.weighting_f.1.bias"].any()


def test_foreign_parameters_are_refused_in_a_sentence(small):
    state = authors.state_dict(small)
    last = "8.weight_mod.weighting_f.1.bias"
    for change, sentence in [
        ({"conv1.weight": np.ones(3)}, "its parameter 'conv1.weight' is none of the authors' code"),
        ({last: None}, f"it lacks the parameter {last}"),
        (
            {last: np.zeros(3, "float32")},
            r"parameters 8\..* which are not those of a layer of DAUs",
        ),
        ({last: np.zeros((3, 3), "float32")}, "not those of a layer"),
        ({"0.weight_mod.weighting_f.0.weight": np.zeros(())}, "not those of a layer"),
        ({"0.weight_mod.weighting_f.0.weight": np.zeros((0, 6, 0, 0))}, "not those of a layer"),
        ({"1.weight_mod.weighting_f.0.weight": state[last]}, "not those of a layer"),
    ]:
        changed = {name: a for name, a in {**state, **change}.items() if a is not None}
        with pytest.raises(ValueError, match=sentence):
            authors.net(changed, temperature=1.0)
    fewer = {name: array for name, array in state.items() if name[0] < "3"}
    with pytest.raises(ValueError, match="kernel sizes 3, 3, 3 and 16, 16, 32 DAUs, which are no"):
        authors.net(fewer, temperature=1.0)


def test_what_their_code_has_not_is_not_written():
    for layer in (DAUConv2D(2, 1, 3, rescale="l2"), TemperatureScaling(2.0)):
        with pytest.raises(ValueError, match="layers of DAUs that rescale by SQ alone"):
            authors.state_dict(CoDANet([layer], image_size=4))


@pytest.mark.parametrize("name", ["9L-S-CoDA-SQ-1000", "9L-L-CoDA-SQ-100000"])
def test_numbers_are_those_of_their_modules(name):
    """At ranks / 16 on small images; `benchmarks/imported.py` does it at full size."""
    pytest.importorskip("torch", reason="the layout is tested above without it")
    from benchmarks.imported import compare

    size = 36 if "-L-" in name else 16
    found = compare(name, images=1, image_size=size, rank_scale=1 / 16)
    assert found["logits"] < 1e-5 and found["contributions"] < 1e-5


def test_temperatures_are_in_the_names():
    assert list(map(temperature, NETS)) == [10, 50, 100, 500, 1000, 5000, 100_000]
