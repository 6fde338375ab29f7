"""Nets of B-cos v2: parameters by their names, stored numbers of its package, and refusals."""

import json
import zlib
from pathlib import Path

import numpy as np
import pytest

from coda_keras.importing import bcos
from coda_keras.models.bcos import bcos_net

pytestmark = pytest.mark.once
STORED = Path(__file__).resolve().parents[1] / "fixtures/bcos/expected.json"
NAME = "simple_vit_ti_patch16_224"


def state_of(net, prefix=""):
    """A state dict as B-cos v2 would have it."""
    state = {}
    for layer in bcos.leaves(net.body):
        weights = layer.get_weights()
        kind = type(layer).__name__
        if kind == "BcosConv2D":
            state[f"{layer.name}.linear.weight"] = weights[0].transpose(3, 2, 0, 1)
        elif kind == "BcosDense":
            state[f"{layer.name}.linear.weight"] = weights[0].T
        elif kind == "DynamicSelfAttention":
            state[f"{layer.name}.weight"] = np.concatenate([array.T for array in weights])
        elif weights:
            state[f"{layer.name}.weight"] = weights[0]
            if kind == "DynamicBatchNormalization":
                state[f"{layer.name}.running_var"] = weights[1]
                state[f"{layer.name}.running_mean"] = np.zeros_like(weights[1])
                state[f"{layer.name}.num_batches_tracked"] = np.int64(3)
    return {prefix + name: array for name, array in state.items()}


@pytest.fixture(scope="module")
def vit():
    return bcos_net(NAME, classes=3)


@pytest.mark.parametrize("name", ["resnet_18", NAME])
def test_parameters_find_their_layers(name, vit):
    net = vit if name == NAME else bcos_net(name, classes=3, image_size=64)
    rng = np.random.default_rng(0)
    net.set_weights([rng.uniform(0.5, 1.5, weight.shape) for weight in net.get_weights()])
    imported = bcos.net(state_of(net, "0." if name == NAME else ""), name)
    assert (imported.classes, imported.image_size, imported.class_names) == (3, (224, 224), None)
    for weight, other in zip(imported.get_weights(), net.get_weights()):
        np.testing.assert_array_equal(weight, other)


def values(name, shape):
    """Weights that depend on the name of a parameter alone; those of norms are positive."""
    rng = np.random.default_rng(zlib.crc32(name.replace(".", "_").encode()))
    if len(shape) > 1:
        return rng.normal(size=shape)
    # Variances with which activations keep their size.
    return rng.uniform(0.5, 1.5, shape) * (0.005 if name.endswith("running_var") else 1)


def images(size):
    """Two images of stripes and blots, exact in float32."""
    row, column, channel = np.ogrid[:size, :size, :3]
    first = (row * (channel + 1) + column) % 17 / 16
    second = (row // 5 + column // 3 + 2 * channel) % 9 / 8
    return np.stack([first, second]).astype("float32")


@pytest.mark.parametrize("name", json.loads(STORED.read_text()))
def test_numbers_are_those_that_the_package_gave(name):
    expected = json.loads(STORED.read_text())[name]
    size, ids = expected["image_size"], expected["class_ids"]
    state = state_of(bcos_net(name, classes=3, image_size=size))
    net = bcos.net({key: values(key, np.shape(array)) for key, array in state.items()}, name)
    net.run_eagerly = True
    linear, logits = net.linearize(images(size))[0], np.array(expected["logits_without_bias"])
    scale = np.abs(logits).max()
    np.testing.assert_allclose(np.asarray(linear), logits, rtol=0, atol=1e-4 * scale)
    explanation = net.explain(images(size), ids).numpy()
    blocks = np.array(expected["blocks"])
    maps = explanation.contribution_map.reshape(2, 4, size // 4, 4, size // 4).sum((2, 4))
    np.testing.assert_allclose(maps, blocks, rtol=0, atol=1e-4 * np.abs(blocks).max())


@pytest.mark.parametrize("name", ["resnet_18", "densenet_121", NAME])
def test_numbers_are_those_of_the_package(name):
    for package in ("torchvision", "bcos", "einops"):
        pytest.importorskip(package, reason="what it gave is stored above")
    from benchmarks.bcos_networks import differences, pair

    found = differences(pair(name), batch_size=1)
    assert found["logits"] < 1e-4 and found["contributions"] < 1e-4


def test_other_parameters_are_refused_in_a_sentence(vit):
    state = state_of(vit)
    norm = "transformer_encoder_0_attn_norm.weight"
    for change, sentence in [
        ({norm: None}, f"it lacks the parameter {norm.replace('.', '_')}"),
        ({norm: np.ones(3)}, r"parameters of .* have shapes \(3,\)"),
        ({"extra.weight": np.ones(3)}, "its parameter 'extra_weight' is none of a simple_vit"),
        ({"linear_head_linear.linear.weight": None}, "it has no last layer of a simple_vit"),
        ({"linear_head_linear.linear.weight": np.ones(3)}, "it has no last layer"),
        ({"linear_head_linear.linear.weight": np.ones((1, 192))}, "it has 1 classes. Expected 2"),
        ({"linear_head_linear.linear.weight": np.ones((2**40, 0))}, "Expected 2 to 65536"),
    ]:
        changed = {name: a for name, a in {**state, **change}.items() if a is not None}
        with pytest.raises(ValueError, match=sentence):
            bcos.net(changed, NAME)
