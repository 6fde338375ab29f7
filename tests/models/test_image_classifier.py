"""What users of Keras expect of a model: compile, fit, evaluate, predict, export, extractors."""

import json

import keras
import numpy as np
import pytest
from conftest import BACKEND
from keras import ops

import coda_keras
from coda_keras import (
    CoDANet,
    DAUConv2D,
    OneVsAllAccuracy,
    OneVsAllCrossentropy,
    backend,
    unchecked,
)

# What Keras says of generators and data sets without a number of steps, and of `shuffle`.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Your input ran out of data"),
    pytest.mark.filterwarnings("ignore:`shuffle=True` was passed"),
]
CLASSES = 4
COUNT = 24


def make_net(**arguments):
    layers = [DAUConv2D(5, 3, 3, strides=2, name="first"), DAUConv2D(CLASSES, 3, 1, name="last")]
    return CoDANet(layers, temperature=3.0, image_size=6, **arguments)


@pytest.fixture(scope="module")
def net():
    net = make_net()
    net.compile()
    return net


@pytest.fixture
def images(rng):
    return rng.uniform(size=(COUNT, 6, 6, 3)).astype("float32")


LABELS = np.arange(COUNT) % CLASSES


class Batches(keras.utils.PyDataset):
    def __init__(self, images, **options):
        super().__init__(**options)
        self.images = images

    def __len__(self):
        return 3

    def __getitem__(self, index):
        part = slice(8 * index, 8 * index + 8)
        return self.images[part], LABELS[part]


def tf_data(images):
    import tensorflow as tf

    return tf.data.Dataset.from_tensor_slices((images, LABELS)).batch(8)


def generator(images):
    for part in range(0, COUNT, 8):
        yield images[part : part + 8], LABELS[part : part + 8]


FORMS = {
    "array": lambda images: (images, LABELS),
    "tensor": lambda images: (ops.convert_to_tensor(images), LABELS),
    "generator": lambda images: (generator(images),),
    "PyDataset": lambda images: (Batches(images),),
    "PyDataset of threads": lambda images: (Batches(images, workers=2),),
    # Other backends take one where TensorFlow is there.
    "tf.data": lambda images: (tf_data(images),),
}
CALLS = {
    "fit": lambda net, *data: net.fit(*data, verbose=0),
    "evaluate": lambda net, *data: net.evaluate(*data, verbose=0),
    "predict": lambda net, images, *_: net.predict(images, verbose=0),
}
REFUSED = r"^Expected image values in \[0, 1\]\. Received .*divide 8-bit images by 255\.$"


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("call", CALLS)
def test_images_outside_of_the_unit_range_are_refused(call, form, net, images):
    weights = [np.array(ops.convert_to_numpy(weight)) for weight in net.get_weights()]
    with pytest.raises(ValueError, match=REFUSED):
        CALLS[call](net, *FORMS[form](255 * images))
    # The net is as before, and goes on.
    for weight, before in zip(net.get_weights(), weights):
        np.testing.assert_array_equal(ops.convert_to_numpy(weight), before)
    CALLS[call](net, *FORMS[form](images))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("call", ["evaluate", "predict"])
def test_every_batch_is_looked_at(call, form, net, images):
    images[-1, 0, 0, 0] = 7
    with pytest.raises(ValueError, match=r"Received .* to 7; divide"):
        CALLS[call](net, *FORMS[form](images))
    images[-1, 0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="Received NaN or infinite values"):
        CALLS[call](net, *FORMS[form](images))
    assert len(net.predict(np.zeros((2, 6, 6, 3), "float32"), verbose=0)) == 2


@pytest.mark.parametrize("form", FORMS)
def test_validation_data_is_looked_at(form, net, images):
    bad = FORMS[form](255 * images)
    with pytest.raises(ValueError, match=REFUSED):
        net.fit(images, LABELS, validation_data=bad if len(bad) > 1 else bad[0], verbose=0)


def test_endless_data_is_looked_at_in_every_epoch(net, images):
    def endless():
        yield from [(images[:8], LABELS[:8])] * 2
        yield from [(255 * images[:8], LABELS[:8])] * 2

    with pytest.raises(ValueError, match=REFUSED):
        net.fit(endless(), epochs=2, steps_per_epoch=2, verbose=0)


@pytest.mark.parametrize("call", ["train_on_batch", "test_on_batch", "predict_on_batch"])
def test_single_batches_are_looked_at(call, net, images):
    labels = [] if call == "predict_on_batch" else [LABELS]
    getattr(net, call)(images, *labels)
    with pytest.raises(ValueError, match=REFUSED):
        getattr(net, call)(255 * images, *labels)


@pytest.mark.parametrize("form", FORMS)
def test_unchecked_looks_at_nothing(form, net, images):
    with unchecked():
        assert np.shape(net.predict(FORMS[form](2 * images)[0], verbose=0)) == (COUNT, CLASSES)


def test_compile_without_arguments(images):
    net = make_net()
    net.compile()
    assert isinstance(net.loss, OneVsAllCrossentropy)
    assert isinstance(net.optimizer, keras.optimizers.Adam)
    assert set(net.fit(images, LABELS, verbose=0).history) == {"loss", "accuracy"}
    assert net.jit_compile == backend.use_xla()
    assert backend.use_xla() == (BACKEND == "jax")
    # As of Keras, a loss alone has no metrics.
    alone = make_net()
    alone.compile("adam", OneVsAllCrossentropy())
    assert isinstance(alone.evaluate(images, LABELS, verbose=0), float)
    alone.compile(loss=None)
    assert alone.get_compile_config()["loss"] is None


def test_losses_and_metrics_by_name(net, images):
    named = make_net()
    named.set_weights(net.get_weights())
    metrics = ["one_vs_all_accuracy", "accuracy"]
    for loss in ("one_vs_all_crossentropy", "OneVsAllCrossentropy"):
        named.compile(loss=loss, metrics=metrics)
        result = named.evaluate(images, LABELS, verbose=0, return_dict=True)
        assert set(result) == {"loss", *metrics}
    expected = net.evaluate(images, LABELS, verbose=0, return_dict=True)
    assert result["loss"] == pytest.approx(expected["loss"])
    assert result["one_vs_all_accuracy"] == result["accuracy"] == expected["accuracy"]


def test_files_keep_how_a_net_was_compiled(tmp_path, images):
    net = make_net()
    for jit_compile in ("auto", True, False):
        net.compile(metrics=[OneVsAllAccuracy()], jit_compile=jit_compile)
        net.optimizer.build(net.trainable_variables)
        net.save(tmp_path / "net.keras")
        loaded = keras.models.load_model(tmp_path / "net.keras")
        assert loaded.get_compile_config() == net.get_compile_config()
        assert loaded.get_compile_config()["jit_compile"] == jit_compile
        assert loaded.jit_compile == net.jit_compile
    loaded.fit(images, LABELS, verbose=0)


def test_feature_extractors(net, images):
    names = [layer.name for layer in net.body]
    extractor = keras.Model(
        net.input, [*(net.get_layer(name).output for name in names), net.output]
    )
    first, last, logits = map(ops.convert_to_numpy, extractor(images))
    assert (first.shape, last.shape) == ((COUNT, 3, 3, 5), (COUNT, 3, 3, CLASSES))
    np.testing.assert_allclose(logits, ops.convert_to_numpy(net(images)), rtol=1e-5, atol=1e-6)
    # The logits are computed from the features, as GradCAM needs it.
    head = keras.Model(net.get_layer("last").output, net.output)
    np.testing.assert_allclose(ops.convert_to_numpy(head(last)), logits, rtol=1e-5, atol=1e-6)
    assert (net.inputs, net.outputs) == ([net.input], [net.output])
    with pytest.raises(ValueError, match="not built yet, so its input is not known"):
        CoDANet([DAUConv2D(2, 2, 3)]).input  # noqa: B018


@pytest.mark.tensorflow
def test_exports_at_once(tmp_path, net, images):
    import tensorflow as tf

    net.save(tmp_path / "net.keras")
    fresh = coda_keras.load_model(tmp_path / "net.keras")
    fresh.export(tmp_path / "exported", verbose=False)
    loaded = tf.saved_model.load(tmp_path / "exported")
    expected = ops.convert_to_numpy(net(images))
    np.testing.assert_allclose(loaded.serve(images).numpy(), expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(tf.errors.InvalidArgumentError, match="all values in"):
        loaded.serve(2 * images)
    maps = loaded.serving_default(images)["contribution_map"].numpy()
    explained = net.explain(images).numpy()
    np.testing.assert_allclose(maps, explained.contribution_map, rtol=1e-3, atol=1e-5)
    assert json.loads((tmp_path / "exported/assets.extra/logit_bias.json").read_text()) < 0


@pytest.mark.tensorflow
def test_exports_that_cannot_be_say_what_to_do(tmp_path, net):
    with pytest.raises(ValueError, match="not built yet"):
        CoDANet([DAUConv2D(2, 2, 3)]).export(tmp_path / "none")
    with pytest.raises(ValueError, match="Unknown `format`: 'pmml'"):
        net.export(tmp_path / "none", format="pmml")
    with pytest.raises(ValueError, match=r"ends in '\.tflite'"):
        net.export(tmp_path / "net.onnx", format="litert")
    with pytest.raises(ValueError, match="Unknown `outputs`: 'maps'"):
        net.export(tmp_path / "net.tflite", format="litert", outputs=["maps"])
    with pytest.raises(ValueError, match="signatures, which choose outputs"):
        net.export(tmp_path / "none", outputs=["logits"])
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.tex").write_text("")
    with pytest.raises(ValueError, match="other files"):
        net.export(tmp_path / "mine")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.skipif(BACKEND == "tensorflow", reason="where TensorFlow exports")
def test_other_backends_say_how_to_export(tmp_path, net):
    with pytest.raises(ValueError, match="KERAS_BACKEND=tensorflow"):
        net.export(tmp_path / "net")


@pytest.mark.parametrize("mode", ["int8", "float8"])
def test_quantization_is_refused(mode, net):
    with pytest.raises(ValueError, match="cannot be quantized: Keras has no int8 form"):
        net.quantize(mode)
