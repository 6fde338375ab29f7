import keras
import numpy as np
import oracle
import pytest
from conftest import BACKEND, EXACT_DTYPE, as_oracle, set_weights
from keras import ops
from processes import run_in_process

import coda_keras
from coda_keras import PRESETS, CoDANet, DAUConv2D

LOGIT_BIAS = np.log(0.1 / 0.9)


def _net(rng, dtype=EXACT_DTYPE, **arguments):
    layers = [
        DAUConv2D(4, 2, 3, strides=2, rescale="l2", dtype=dtype),
        DAUConv2D(3, 3, 5, dtype=dtype),
        DAUConv2D(5, 2, 1, use_bias=False, implementation="patches", dtype=dtype),
    ]
    net = CoDANet(layers, temperature=7.0, dtype=dtype, **arguments)
    net.build((None, None, None, 3))
    set_weights(net, rng)
    return net


@pytest.fixture
def zeros(monkeypatch):
    """Drawing many millions of random numbers would be all that tests of large nets do."""
    monkeypatch.setattr("coda_keras.layers.dau._uniform", lambda _: keras.initializers.Zeros())


def _numpy(tensor):
    return np.asarray(ops.convert_to_numpy(tensor), "float64")


@pytest.mark.parametrize("size", [(7, 6), (1, 1), (12, 5)])
def test_logits_equal_the_oracle_at_any_size(size, rng):
    net = _net(rng)
    images = rng.uniform(size=(2, *size, 3)).astype(EXACT_DTYPE)
    layers = [as_oracle(layer) for layer in net.body]
    encoded = np.array([oracle.encode(image) for image in images])
    expected = [oracle.logits(x, layers, 7.0, LOGIT_BIAS) for x in encoded]
    tolerance = {"rtol": 1e-9} if EXACT_DTYPE == "float64" else {"rtol": 1e-4, "atol": 1e-5}
    np.testing.assert_allclose(_numpy(net(images)), expected, **tolerance)
    encoded = encoded.astype(EXACT_DTYPE)
    np.testing.assert_allclose(_numpy(net(encoded)), expected, **tolerance)


def test_evidence_sums_to_the_logits(rng):
    net = _net(rng)
    images = rng.uniform(size=(2, 12, 9, 3)).astype(EXACT_DTYPE)
    evidence = _numpy(net.evidence(images))
    layers = [as_oracle(layer) for layer in net.body]
    for image, computed in zip(images, evidence):
        expected = oracle.activations(oracle.encode(image), layers)[-1] / 7.0
        np.testing.assert_allclose(computed, expected, rtol=1e-3, atol=1e-5)
    logits = evidence.sum(axis=(1, 2)) + LOGIT_BIAS
    np.testing.assert_allclose(logits, _numpy(net(images)), rtol=1e-5)


class _Doubled(CoDANet):
    def call(self, images):
        return 2 * super().call(images)


class _Plain(keras.layers.Layer):
    def linearize(self, inputs):
        return inputs, lambda cotangent: cotangent


def test_receptive_field_is_known_if_every_layer_tells(rng):
    layers = [DAUConv2D(2, 2, 3, strides=2), DAUConv2D(2, 2, 5)]
    assert CoDANet(layers).receptive_field == (11, 2, -5)
    assert CoDANet([*layers, _Plain()]).receptive_field is None
    assert CoDANet([*layers, coda_keras.DynamicLinear()]).receptive_field is None
    assert CoDANet([*layers, coda_keras.TemperatureScaling(2.0)]).receptive_field == (11, 2, -5)
    assert _Doubled(layers).receptive_field is None


def test_evidence_removed_everywhere_leaves_the_bias(rng):
    net = _net(rng, logit_bias=0.25)
    np.testing.assert_array_equal(_numpy(net(np.zeros((2, 6, 6, 6), EXACT_DTYPE))), 0.25)


def test_default_bias_says_one_in_ten(rng):
    net = CoDANet([DAUConv2D(3, 2, 3)])
    probability = 1 / (1 + np.exp(-_numpy(net(np.zeros((1, 4, 4, 6), "float32")))))
    np.testing.assert_allclose(probability, 0.1, rtol=1e-6)
    assert net.temperature == 1000


@pytest.mark.parametrize(
    ("preset", "label", "parameters", "image_size", "classes"),
    [
        ("s_coda", "S-CoDA", 7_782_816, 32, 10),
        ("m_coda", "M-CoDA", 27_517_536, 32, 10),
        ("l_coda", "L-CoDA", 47_517_408, 240, 100),
        ("xl_coda", "XL-CoDA", 67_562_208, 64, 200),
    ],
)
def test_presets_have_the_paper_s_sizes(preset, label, parameters, image_size, classes, zeros):
    net = CoDANet.from_preset(preset)
    assert net.count_params() == parameters == PRESETS[preset].parameters
    assert PRESETS[preset].label == label
    assert net.image_size == (image_size, image_size)
    assert net.classes == classes
    assert net.name == preset
    assert net.compute_output_shape((4, image_size, image_size, 3)) == (4, classes)


def test_every_preset_has_its_size_tested():
    assert set(PRESETS) == {"s_coda", "m_coda", "l_coda", "xl_coda"}
    assert [name for name, preset in PRESETS.items() if preset.note] == ["xl_coda"]


@pytest.mark.parametrize(
    ("rank_scale", "parameters"), [(1 / 8, 1_076_984), (1 / 4, 2_034_960), (1 / 2, 3_950_912)]
)
def test_rank_scale(rank_scale, parameters, zeros):
    """Fig. B.2: 1.1M, 2.0M, 4.0M."""
    assert CoDANet.from_preset("s_coda", rank_scale=rank_scale).count_params() == parameters


def test_largest_rank_scale_of_the_paper(zeros):
    """Fig. B.2: 34.6M."""
    assert round(CoDANet.from_preset("s_coda", rank_scale=4.5).count_params() / 1e5) == 346


def test_preset_arguments():
    net = CoDANet.from_preset(
        "s_coda",
        classes=3,
        rescale="l2",
        temperature=50,
        rank_scale=1e-9,
        image_size=(20, 24),
        implementation="patches",
        logit_bias=0.5,
        name="mine",
    )
    assert (net.classes, net.temperature, net.logit_bias, net.name) == (3, 50, 0.5, "mine")
    assert net.image_size == (20, 24)
    for layer in net.body:
        assert (layer.rescale, layer.implementation, layer.rank) == ("l2", "patches", 1)
    assert net.compute_output_shape((None, 20, 24, 3)) == (None, 3)


def test_preset_in_mixed_precision(rng):
    net = CoDANet.from_preset("s_coda", rank_scale=1 / 32, dtype="mixed_bfloat16")
    assert {layer.compute_dtype for layer in net.body} == {"bfloat16"}
    same = CoDANet.from_preset("s_coda", rank_scale=1 / 32)
    same.set_weights(net.get_weights())
    images = rng.uniform(size=(2, 8, 8, 3)).astype("float32")
    logits, expected = net(images), same(images)
    assert keras.backend.standardize_dtype(logits.dtype) == "float32"
    evidence = _numpy(expected) - same.logit_bias
    assert np.max(np.abs(_numpy(logits) - _numpy(expected))) < 0.05 * np.max(np.abs(evidence))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: CoDANet.from_preset("xs_coda"), "Unknown preset: 'xs_coda'.*'s_coda'"),
        (lambda: CoDANet.from_preset("s_coda", rank_scale=0), "`rank_scale`.*rank_scale=0"),
        (lambda: CoDANet.from_preset("s_coda", rank_scale=np.inf), "`rank_scale`.*rank_scale=inf"),
        (lambda: CoDANet.from_preset("s_coda", rescale="no"), "Unknown `rescale`: 'no'"),
        (lambda: CoDANet.from_preset("s_coda", classes=0), "`filters`.*filters=0"),
        (lambda: CoDANet.from_preset("s_coda", temperature=-1), "`temperature`.*temperature=-1"),
        (lambda: CoDANet([]), "`layers` is empty"),
        (lambda: CoDANet([keras.layers.Dense(3)]), "Dense.*has no `linearize` method"),
        (lambda: CoDANet([DAUConv2D(2, 2, 1)], image_size=(8, 8, 3)), "`image_size` must be"),
        (lambda: CoDANet([DAUConv2D(2, 2, 1)], image_size=0), "`image_size` must be"),
        (lambda: CoDANet([DAUConv2D(2, 2, 1)], image_size=8.5), "`image_size` must be"),
    ],
)
def test_bad_arguments(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_bad_images(rng):
    net = _net(rng)
    with pytest.raises(ValueError, match=r"3 channels.*6 channels"):
        net(np.zeros((1, 4, 4, 4), EXACT_DTYPE))
    with pytest.raises(ValueError, match=r"3 channels.*6 channels"):
        net.explain(np.zeros((1, 4, 4, 1), EXACT_DTYPE))


def test_functional_use_with_unknown_image_size(rng):
    net = _net(rng)
    inputs = keras.Input((None, None, 3), dtype=EXACT_DTYPE)
    model = keras.Model(inputs, net(inputs))
    assert model.output_shape == (None, 5)
    for size in ((7, 6), (4, 9)):
        images = rng.uniform(size=(2, *size, 3)).astype(EXACT_DTYPE)
        np.testing.assert_allclose(_numpy(model(images)), _numpy(net(images)), rtol=1e-6)


def test_fit_on_batches_of_different_sizes(rng):
    keras.utils.set_random_seed(1)
    net = CoDANet([DAUConv2D(4, 3, 3, strides=2), DAUConv2D(2, 3, 1)], temperature=10.0)
    colours = np.array([[0.9, 0.1, 0.1], [0.1, 0.1, 0.9]])

    def batches(count):
        for index in range(count):
            labels = rng.integers(0, 2, size=8)
            size = (5, 6) if index % 2 else (8, 7)
            images = np.ones((8, *size, 3)) * colours[labels][:, None, None]
            yield images.astype("float32"), labels

    net.compile(
        keras.optimizers.Adam(0.05),
        coda_keras.OneVsAllCrossentropy(),
        metrics=[coda_keras.OneVsAllAccuracy()],
        jit_compile=BACKEND == "jax",
    )
    net.fit(batches(40), steps_per_epoch=40, shuffle=False, verbose=0)
    results = net.evaluate(batches(4), steps=4, verbose=0, return_dict=True)
    assert results["accuracy"] == 1
    assert results["loss"] < 0.3


@pytest.mark.tensorflow
def test_fit_compiled_by_xla_equals_the_graph(rng):
    images = rng.uniform(size=(8, 6, 6, 3)).astype("float32")
    labels = rng.integers(0, 5, size=8)
    losses = []
    for jit_compile in (False, True):
        net = _net(np.random.default_rng(3), dtype="float32")
        net.compile(
            keras.optimizers.SGD(0.1), coda_keras.OneVsAllCrossentropy(), jit_compile=jit_compile
        )
        history = net.fit(images, labels, batch_size=4, epochs=3, shuffle=False, verbose=0)
        losses.append(history.history["loss"])
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)
    assert losses[0][-1] < losses[0][0]


def explain_stored(model, images, outputs):
    explanation = keras.models.load_model(model).explain(np.load(images), "all").numpy()
    np.savez(outputs, logits=explanation.logits, weights=explanation.weights)


@pytest.mark.process
@pytest.mark.slow_on_jax
def test_keras_file_opens_in_a_fresh_process(rng, tmp_path):
    net = _net(rng, dtype="float32", image_size=7)
    images = rng.uniform(size=(2, 7, 7, 3)).astype("float32")
    net.compile("adam", coda_keras.OneVsAllCrossentropy(), metrics=[coda_keras.OneVsAllAccuracy()])
    net.save(tmp_path / "net.keras")
    np.save(tmp_path / "images.npy", images)
    files = [tmp_path / name for name in ("net.keras", "images.npy", "outputs.npz")]
    run_in_process(explain_stored, *files)
    outputs = np.load(files[2])
    explanation = net.explain(images, "all").numpy()
    np.testing.assert_allclose(outputs["logits"], explanation.logits, rtol=1e-6)
    np.testing.assert_allclose(outputs["weights"], explanation.weights, rtol=1e-5, atol=1e-7)


def test_weights_round_trip(rng, tmp_path):
    net = _net(rng)
    net.save_weights(tmp_path / "net.weights.h5")
    other = _net(np.random.default_rng(99))
    other.load_weights(tmp_path / "net.weights.h5")
    for one, two in zip(net.weights, other.weights):
        np.testing.assert_array_equal(_numpy(one), _numpy(two))


def test_clone_trains_on_its_own(rng):
    net = _net(rng)
    clone = keras.models.clone_model(net)
    clone.build((None, None, None, 3))
    clone.set_weights(net.get_weights())
    images = rng.uniform(size=(1, 5, 5, 3)).astype(EXACT_DTYPE)
    np.testing.assert_array_equal(_numpy(clone(images)), _numpy(net(images)))
    clone.set_weights([0 * w for w in net.get_weights()])
    assert np.any(_numpy(clone(images)) != _numpy(net(images)))
