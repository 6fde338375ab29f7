"""One contract for all attribution methods, on every kind of model."""

import keras
import numpy as np
import pytest
from keras import ops

from coda_keras import CoDANet, DAUConv2D, attribution, encode
from coda_keras.attribution.interception import intercepted

SIZE = (8, 10)
CLASSES = 4
FAST = {
    "smooth_gradient": {"samples": 3},
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
    or name in ("input_x_gradient", "gradcam", "gradcam_plus_plus", "rise")
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
    assert method(name)(model, images[:0], several[:0]).shape == (0, 2, *SIZE)
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
        ("smooth_gradient", {"samples": 0}, "samples=0"),
        ("smooth_gradient", {"noise": -0.1}, "noise=-0.1"),
        ("smooth_gradient", {"noise": float("nan")}, "noise=nan"),
        ("occlusion", {"patch_size": 0}, "patch_size=0"),
        (f"occlusion_{10**23}", {}, f"at most 1000000000.*patch_size={10**23}"),
        ("occlusion", {"stride": 10**23}, f"at most 1000000000.*stride={10**23}"),
        ("occlusion", {"stride": True}, "stride=True"),
        ("occlusion", {"fill": "white"}, "'white'.*black.*no_evidence"),
        ("rise", {"keep_probability": 0}, "keep_probability=0"),
        ("gradcam", {"interpolation": "cubic"}, "'cubic'.*nearest"),
        ("gradcam_plus_plus", {"interpolation": "cubic"}, "'cubic'.*nearest"),
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


def test_compiled_functions_see_new_settings(images):
    net = MODELS["coda"]()
    explain = method("contributions")
    before = explain(net, images, 0)
    net.scaling.temperature *= 2
    np.testing.assert_allclose(explain(net, images, 0), before / 2, rtol=1e-5)


# How many images the model sees for three images of two classes each.
SHOWN = {
    "gradient": 6,
    "input_x_gradient": 6,
    "smooth_gradient": 3 * 6,
    "integrated_gradients": 3 * 6,
    # Once forward, once from the layer on.
    "gradcam": 2 * 6,
    "gradcam_plus_plus": 2 * 6,
    "occlusion": 3 * (3 * 4 + 1),
    "rise": 3 * 7,
    "lime": 3 * 9,
}


def shown(explain, layer, model, images):
    """Numbers of images that reach a layer while 3 images of 2 classes are explained, eagerly."""
    # Models are looked at once before.
    explain(model, images[:1], 0)
    explain._function = lambda *arrays: ops.convert_to_numpy(
        explain.on_device(model, *map(ops.convert_to_tensor, arrays))
    )
    sizes = []
    with intercepted(layer, lambda outputs: sizes.append(len(outputs)) or outputs):
        explain(model, images, np.zeros((3, 2), int))
    return sizes


@pytest.mark.parametrize("name", SHOWN)
def test_the_model_never_sees_more_images_than_the_batch_size(name, images):
    if name == "lime":
        pytest.importorskip("lime")
    model = functional()
    sizes = shown(method(name, batch_size=2), model.layers[1], model, images)
    assert max(sizes) == 2
    # Occlusion looks once more, to see how many positions there are.
    assert sum(sizes) == SHOWN[name] + (name == "occlusion")


def test_contributions_explain_no_more_images_at_once_than_the_batch_size(
    models, images, monkeypatch
):
    contributions, sizes = method("contributions", batch_size=2), []
    run = contributions.run_on_device

    def counted(shown, class_ids):
        sizes.append(len(shown))
        return run(shown, class_ids)

    monkeypatch.setattr(contributions, "run_on_device", counted)
    contributions(models["coda"], images, np.zeros((3, 2), int))
    assert sizes == [2, 1]


def test_interceptions_nest_and_leave_the_layer_as_it_was():
    layer = keras.layers.Dense(1, kernel_initializer="ones")
    ones = np.ones((1, 2), "float32")

    def output():
        return float(ops.convert_to_numpy(layer(ones))[0, 0])

    with intercepted(layer, lambda outputs: outputs + 1):
        with intercepted(layer, lambda outputs: 10 * outputs):
            assert output() == 30
        assert output() == 3
        with pytest.raises(RuntimeError), intercepted(layer, lambda outputs: 10 * outputs):
            raise RuntimeError
        assert output() == 3
    assert output() == 2
    assert "call" not in vars(layer)


def test_labels():
    labels = {name: method(name).label for name in attribution.METHODS}
    assert labels["deeplift"] == "DeepLIFT"
    assert labels["occlusion"] == "Occ3"

    class Sharper(attribution.GradCAM):
        pass

    class Own(attribution.Attribution):
        label = "mine"

    assert Sharper().label == "GradCAM"
    assert Own().label == "mine"


def test_progress_is_shown_and_switched_off(models, images, capfd, monkeypatch):
    monkeypatch.setattr("coda_keras.utils.progress.LINE_SECONDS", 0.0)
    method("gradient", progress=True)(models["coda"], images, 0)
    assert "Grad" in capfd.readouterr().err
    method("gradient", progress=False)(models["coda"], images, 0)
    assert "Grad" not in capfd.readouterr().err
