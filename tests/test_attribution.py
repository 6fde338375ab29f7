"""One contract for all attribution methods, on every kind of model."""

import keras
import numpy as np
import pytest
from keras import ops

from coda_keras import CoDANet, DAUConv2D, attribution, encode

SIZE = (8, 10)
CLASSES = 4
FAST = {
    "integrated_gradients": {"steps": 3},
    "occlusion": {"patch_size": 3, "stride": 3},
    "rise": {"num_masks": 7, "grid_size": 3},
    "lime": {"num_samples": 9, "kernel_size": 1},
}


def coda():
    layers = [DAUConv2D(4, 3, 3, strides=2), DAUConv2D(CLASSES, 3, 1)]
    return CoDANet(layers, temperature=2.0)


def functional():
    inputs = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(4, 3, strides=2, padding="same", activation="relu")(inputs)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(CLASSES)(x))


class Subclassed(keras.Model):
    """Layers in another order than they are called, and a mean that is no layer."""

    def __init__(self):
        super().__init__()
        self.classify = keras.layers.Dense(CLASSES)
        self.convolve = keras.layers.Conv2D(4, 3, activation="relu")

    def call(self, images, training=False):
        return self.classify(ops.mean(self.convolve(images), axis=(1, 2)))


MODELS = {"coda": coda, "functional": functional, "subclassed": Subclassed}
CASES = [
    (name, kind)
    for kind in MODELS
    for name in attribution.METHODS
    # Contributions are of a CoDANet only; DeepLIFT on others has a process of its own to start.
    if kind == "coda"
    or (kind == "functional" and name not in ("contributions", "deeplift"))
    or name in ("input_x_gradient", "gradcam", "rise")
]


@pytest.fixture(scope="module")
def models():
    keras.utils.set_random_seed(1)
    return {kind: make() for kind, make in MODELS.items()}


def method(name, **kwargs):
    return attribution.get(name, **{"progress": False, **FAST.get(name, {}), **kwargs})


@pytest.fixture
def images(rng):
    return rng.random((3, *SIZE, 3)).astype("float32")


@pytest.mark.parametrize("name, kind", CASES)
def test_contract(name, kind, models, images):
    if name == "lime":
        pytest.importorskip("lime")
    model = models[kind]
    several = np.array([[0, 1], [3, 2], [1, 1]])
    explain = method(name, batch_size=4)
    maps = explain(model, images, several)
    assert maps.shape == (3, 2, *SIZE)
    assert maps.dtype == np.float32
    assert np.isfinite(maps).all()
    assert name == "lime" or np.abs(maps).max() > 0

    np.testing.assert_allclose(explain(model, images, several), maps, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(maps[2, 0], maps[2, 1], rtol=1e-4, atol=1e-7)
    one_by_one = method(name, batch_size=1)
    first = one_by_one(model, images[1:], several[1:, 0])
    assert first.shape == (2, *SIZE)
    np.testing.assert_allclose(first, maps[1:, 0], rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(one_by_one(model, images[1:], 1)[1], first[1])

    if kind == "coda":
        encoded = ops.convert_to_numpy(encode(images))
        np.testing.assert_allclose(explain(model, encoded, several), maps, rtol=1e-5, atol=1e-7)
    assert explain(model, images[:0], several[:0]).shape == (0, 2, *SIZE)
    assert explain(model, images, several[:, :0]).shape == (3, 0, *SIZE)


@pytest.mark.parametrize("name", ["gradient", "occlusion"])
@pytest.mark.parametrize(
    "ids, message",
    [
        ([0, 1], r"shape \(2,\) for 3 images"),
        ([[[0]]] * 3, r"shape \(3, 1, 1\)"),
        ([0, 1, 4], "0 to 3.*from 0 to 4"),
        ([0, -1, 2], "0 to 3.*from -1 to 2"),
        ([0.0, 1.0, 2.0], "integers.*float64"),
    ],
)
def test_class_ids_are_checked(name, ids, message, models, images):
    with pytest.raises(ValueError, match=message):
        method(name)(models["functional"], images, ids)


@pytest.mark.parametrize("shape", [(8, 10, 3), (1, 8, 10, 1), (1, 8, 10, 6)])
def test_images_are_checked(shape, models):
    with pytest.raises(ValueError, match=r"3\).*CoDANet.*Received shape"):
        method("gradient")(models["functional"], np.zeros(shape), 0)


def test_integer_images_are_no_input_of_a_codanet(models):
    with pytest.raises(ValueError, match="uint8; divide 8-bit images by 255"):
        method("gradient")(models["coda"], np.zeros((1, *SIZE, 3), "uint8"), 0)


def test_models_are_checked(images):
    spatial = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(2, 1)])
    with pytest.raises(ValueError, match=r"logits of shape \(batch, classes\)"):
        method("gradient")(spatial, images, 0)
    with pytest.raises(ValueError, match="must be a Keras model"):
        method("gradient")("model.keras", images, 0)


def test_contributions_need_an_inherently_interpretable_model(models, images):
    with pytest.raises(ValueError, match="input_x_gradient"):
        method("contributions")(models["functional"], images, 0)


def test_unknown_names_list_the_known_ones():
    with pytest.raises(ValueError, match=r"'grad'.*contributions, gradient, .*lime"):
        attribution.get("grad")


@pytest.mark.parametrize(
    "name, kwargs, message",
    [
        ("gradient", {"batch_size": 0}, "batch_size=0"),
        ("integrated_gradients", {"steps": 1.5}, "steps=1.5"),
        ("occlusion", {"patch_size": 0}, "patch_size=0"),
        ("occlusion", {"stride": True}, "stride=True"),
        ("occlusion", {"fill": "white"}, "'white'.*black.*no_evidence"),
        ("rise", {"keep_probability": 0}, "keep_probability=0"),
        ("gradcam", {"interpolation": "cubic"}, "'cubic'.*nearest"),
    ],
)
def test_arguments_are_checked(name, kwargs, message):
    with pytest.raises(ValueError, match=message):
        attribution.get(name, **kwargs)


def test_attribute_by_name(models, images):
    maps = attribution.maps(models["coda"], images, 1, "occlusion", patch_size=3, stride=3)
    np.testing.assert_array_equal(maps, method("occlusion")(models["coda"], images, 1))


@pytest.mark.parametrize("name", ["gradient", "occlusion"])
def test_compiled_functions_see_new_weights_and_models(name, images):
    model, other = functional(), functional()
    explain = method(name)
    before = explain(model, images, 0)
    weights = model.get_weights()
    model.set_weights([*weights[:-2], 2 * weights[-2], weights[-1]])
    np.testing.assert_allclose(explain(model, images, 0), 2 * before, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(explain(other, images, 0), method(name)(other, images, 0))


@pytest.mark.parametrize("name", ["integrated_gradients", "occlusion", "rise", "lime"])
def test_the_model_never_sees_more_images_than_the_batch_size(name, models, images, monkeypatch):
    if name == "lime":
        pytest.importorskip("lime")
    explain = method(name, batch_size=2)
    sizes = []
    evaluated = explain.run_on_device

    def counted(*arrays):
        sizes.append(len(arrays[1] if name in ("occlusion", "rise") else arrays[0]))
        return evaluated(*arrays)

    monkeypatch.setattr(explain, "run_on_device", counted)
    explain(models["functional"], images, np.zeros((3, 2), int))
    assert max(sizes) == 2
    expected = {
        "integrated_gradients": 3 * 6,
        # One more to see how many positions there are.
        "occlusion": 3 * (3 * 4 + 1) + 1,
        "rise": 3 * 7,
        "lime": 3 * 9,
    }
    assert sum(sizes) == expected[name]


def test_labels(models):
    labels = {name: method(name).describe(models["coda"]) for name in attribution.METHODS}
    assert labels["deeplift"] == "DeepLIFT (= IxG)"
    assert labels["occlusion"] == "Occ3"
    assert method("deeplift").describe(models["functional"]) == "DeepLIFT"


def test_progress_is_shown_and_switched_off(models, images, capfd):
    method("gradient", progress=True)(models["coda"], images, 0)
    assert "Grad" in capfd.readouterr().err
    method("gradient", progress=False)(models["coda"], images, 0)
    assert "Grad" not in capfd.readouterr().err
