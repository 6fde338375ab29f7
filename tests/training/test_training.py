"""What recipes share: flags, the folder of a run, checkpoints, the report."""

import dataclasses
import json
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from coda_keras import CoDANet, DAUConv2D, backend, training
from coda_keras.attribution.contributions import own_method
from coda_keras.data.images import ImageData
from coda_keras.training import report, scores
from coda_keras.training import tf_distribution as distribution
from coda_keras.training.precision import set_policy

pytestmark = pytest.mark.tensorflow

VALUES = {"epochs": 2, "batch_size": 4, "learning_rate": 0.1, "schedule": "steps", "halve_every": 3}
NAMES = ["dark", "bright"]


@pytest.fixture
def settings(tmp_path):
    return read(tmp_path / "run")


def read(folder, *flags, **values):
    return training.SettingsParser("", **{**VALUES, **values}, output=folder).settings(flags)


@pytest.fixture
def data(rng):
    labels = np.arange(8, dtype="int32") % 2
    images = (rng.uniform(0, 100, (8, 6, 6, 3)) + 150 * labels[:, None, None, None]).astype("uint8")
    return ImageData(images, labels, images[:5], labels[:5], NAMES)


def coda_net(settings=None, data=None):
    return CoDANet([DAUConv2D(3, 2, 3), DAUConv2D(2, 2, 1)], temperature=1.0, image_size=6)


def classifier(settings=None, data=None):
    return keras.Sequential(
        [keras.Input((6, 6, 3)), keras.layers.Flatten(), keras.layers.Dense(2)], name="plain"
    )


def run(settings, data, build=coda_net, package=None):
    return training.fit(settings, build, data, package=package).net


# Devices.


def test_one_device_needs_no_mirrors():
    assert distribution.data_parallel(1, 7).num_replicas_in_sync == 1


def test_batches_that_do_not_divide():
    with pytest.raises(ValueError, match="--batch-size 7 cannot be split evenly over 2"):
        distribution.data_parallel(2, 7)


def test_more_replicas_than_gpus(monkeypatch):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [kind])
    with pytest.raises(ValueError, match="--replicas 3, but this machine has 1 GPUs"):
        distribution.data_parallel(3, 6)


def test_precision_is_keras_policy_without_tf32():
    try:
        set_policy("mixed_bfloat16")
        assert keras.config.dtype_policy().name == "mixed_bfloat16"
        assert not tf.config.experimental.tensor_float_32_execution_enabled()
    finally:
        keras.config.set_dtype_policy("float32")


# The folder of a run.


def test_a_start_that_fails_leaves_no_folder(settings, data):
    with pytest.raises(ValueError, match="5 training images for batches of 6"):
        run(dataclasses.replace(settings, batch_size=6, limit_train=5), data)
    assert not settings.output.exists()


def test_a_finished_run_is_refused(settings):
    settings.output.mkdir()
    (settings.output / "metrics.json").write_text("{}")
    with pytest.raises(FileExistsError, match="holds a finished run"):
        training.start(settings)


@pytest.mark.parametrize(
    "record, flags",
    [
        ({"seed": 1}, "--seed"),
        ({"batch_size": 8, "precision": "mixed_bfloat16"}, "--batch-size, --precision"),
        ({"rank_scale": 0.5}, "--rank-scale"),
    ],
)
def test_an_interrupted_run_with_other_arguments_is_refused(settings, record, flags):
    before = {k: v for k, v in settings.as_dict().items() if k not in ("data", "output")}
    settings.output.mkdir()
    (settings.output / "arguments.json").write_text(json.dumps({**before, **record}))
    with pytest.raises(FileExistsError, match=f"with another {flags}. Repeat"):
        training.start(settings)
    (settings.output / "arguments.json").write_text("[]")
    with pytest.raises(ValueError, match=r"arguments.json: expected a JSON object. Received list"):
        training.start(settings)
    (settings.output / "arguments.json").write_text(json.dumps(before))
    assert training.start(settings).strategy.num_replicas_in_sync == 1


# Schedules.


def test_steps_halve_the_rate_every_so_many_epochs():
    settings = training.Settings(schedule="steps", learning_rate=0.8, halve_every=3, epochs=9)
    rate = training.learning_rate(settings, steps_per_epoch=10)
    rates = [float(rate(step)) for step in (0, 29, 30, 59, 60)]
    np.testing.assert_allclose(rates, [0.8, 0.8, 0.4, 0.4, 0.2], rtol=1e-6)


def test_cosine_warms_up_and_ends_at_0():
    settings = training.Settings(schedule="cosine", learning_rate=0.8, halve_every=3, epochs=10)
    rate = training.learning_rate(settings, steps_per_epoch=10)
    # 5 of the 100 steps are linear, the rest is half a cosine.
    expected = [0.0, 0.4 * 0.8, 0.8, 0.8 * 0.5 * (1 + np.cos(np.pi * 40 / 95)), 0.0]
    np.testing.assert_allclose([float(rate(s)) for s in (0, 2, 5, 45, 100)], expected, atol=1e-6)
    # The least there is: a step.
    settings = dataclasses.replace(settings, epochs=1)
    assert float(training.learning_rate(settings, steps_per_epoch=1)(1)) == pytest.approx(0.8)


# The report.


def test_a_run_reports_what_its_net_says(settings, data):
    packaged = []

    def package(net, folder, names):
        packaged.append((folder, names))
        return folder / "1"

    net = run(settings, data, package=package)
    metrics = json.loads((settings.output / "metrics.json").read_text())
    images = data.test_images.astype("float32") / 255
    explanation = net.explain(images).numpy()
    assert metrics["test_accuracy"] == np.mean(explanation.logits.argmax(1) == data.test_labels)
    assert metrics["completeness_error"] < 1e-5
    assert metrics["parameters"] == net.count_params()
    assert metrics["arguments"]["output"] == str(settings.output)
    assert len(metrics["history"]) == 2
    assert packaged == [(settings.output / "servables", NAMES)]
    assert {path.name for path in (settings.output / "examples").iterdir()} == {
        "dark-0.png",
        "bright-1.png",
    }


def test_the_completeness_error_is_the_largest_of_all_images(data, monkeypatch):
    net = coda_net()
    honest, pictures = (
        scores.explain_dataset,
        data._replace(
            test_images=np.repeat(data.test_images, 60, axis=0),
            test_labels=np.repeat(data.test_labels, 60),
        ),
    )

    def explained(net, batches, fields):
        for explanation in honest(net, batches, fields=fields, progress=False):
            # Half of what the pixels explain of the last image of the first batch.
            if len(explanation.residual) == 250:
                logit = explanation.logits[-1, explanation.class_ids[-1]]
                explanation.residual[-1] = 0.5 * (logit - explanation.bias)
            yield explanation

    monkeypatch.setattr(scores, "explain_dataset", explained)
    logits, error = scores.evaluate(net, pictures)
    assert logits.shape == (300, 2)
    assert error == pytest.approx(0.5, rel=1e-5)


def test_a_classifier_without_explanations_gets_no_servable(settings, data):
    net = run(settings, data, classifier, package=None)
    metrics = json.loads((settings.output / "metrics.json").read_text())
    assert metrics["completeness_error"] is None
    assert not (settings.output / "servables").exists()
    assert (settings.output / "gallery.png").exists()
    logits, error = scores.evaluate(net, data)
    images = data.test_images.astype("float32") / 255
    np.testing.assert_allclose(logits, net(images), rtol=1e-5, atol=1e-6)
    assert error is None


def test_the_gallery_says_which_classes_have_no_correct_image(data):
    net = coda_net()
    for favoured, said in ((0, "No correctly classified image of bright."), (None, "No image is")):
        labels = data.test_labels
        logits = np.eye(2)[1 - labels] if favoured is None else np.eye(2)[[favoured] * len(labels)]
        figure = report.draw_gallery(net, data, logits)
        (text,) = [text.get_text() for text in figure.texts if text.get_text()]
        assert " ".join(text.split()).startswith(said)


def test_an_example_is_whole_or_not_there(data, tmp_path, monkeypatch):
    def half(image, path):
        path.write_bytes(b"half")
        raise OSError("No space is left on the device.")

    report.save_examples(tmp_path / "whole", data)
    assert len(list((tmp_path / "whole").glob("*-*.png"))) == len(set(data.test_labels))
    monkeypatch.setattr(report.Image.Image, "save", half)
    with pytest.raises(OSError, match="No space"):
        report.save_examples(tmp_path / "half", data)
    assert list((tmp_path / "half").iterdir()) == []


def test_own_methods():
    assert own_method(coda_net()) == ("contributions", "contribution (logits)")
    assert own_method(classifier()) == ("input_x_gradient", "input x gradient (logits)")


def test_the_library_does_not_know_recipes_or_export():
    package = Path(training.__file__).parents[1]
    for module in package.rglob("*.py"):
        lines = [line.split() for line in module.read_text().splitlines()]
        imported = {line[1].split(".")[0] for line in lines if line[:1] in (["import"], ["from"])}
        assert not imported & {"recipes", "export"}, module


# Devices of a run.


def test_a_step_is_compiled_by_xla_on_one_gpu_only(monkeypatch):
    assert not backend.use_xla()
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["GPU:0"])
    assert backend.use_xla()


def test_what_was_trained_in_bfloat16_explains_in_float32(tmp_path, data):
    flags = ["--precision", "mixed_bfloat16", "--keep-checkpoints"]
    settings = read(tmp_path / "run", *flags)
    try:
        net = run(settings, data)
    finally:
        keras.config.set_dtype_policy("float32")
    saved = keras.models.load_model(settings.output / "model.keras")
    assert {layer.compute_dtype for model in (net, saved) for layer in model.body} == {"float32"}
    checkpoint = keras.models.load_model(settings.output / "checkpoints/002.keras")
    assert {layer.compute_dtype for layer in checkpoint.body} == {"bfloat16"}
    for weight, expected in zip(saved.get_weights(), checkpoint.get_weights()):
        np.testing.assert_array_equal(weight, expected)
    metrics = json.loads((settings.output / "metrics.json").read_text())
    assert metrics["completeness_error"] < 1e-3


def test_trapezoid_warms_up_stays_and_falls_to_0():
    settings = training.Settings(schedule="trapezoid", learning_rate=0.8, epochs=10)
    rate = training.learning_rate(settings, steps_per_epoch=10)
    rates = [float(rate(step)) for step in (0, 4, 69, 70, 85, 100)]
    np.testing.assert_allclose(rates, [0.16, 0.8, 0.8, 0.8, 0.4, 0.0], rtol=1e-6, atol=1e-9)
    # The least there is: a step.
    settings = dataclasses.replace(settings, epochs=1)
    assert float(training.learning_rate(settings, steps_per_epoch=1)(0)) == pytest.approx(0.8)


def test_a_run_begins_with_the_weights_of_a_smaller_net(tmp_path, data):
    small = CoDANet([DAUConv2D(3, 1, 3), DAUConv2D(2, 2, 1)], temperature=1.0, image_size=6)
    small.save(tmp_path / "small.keras")
    flags = ["--initial", str(tmp_path / "small.keras"), "--learning-rate", "1e-9"]
    net = run(read(tmp_path / "run", *flags, initial=None), data)
    images = data.test_images.astype("float32") / 255
    expected = small.predict(images, verbose=0)
    np.testing.assert_allclose(net.predict(images, verbose=0), expected, atol=1e-5)


def test_a_net_to_begin_with_must_exist(tmp_path):
    settings = read(tmp_path / "run", "--initial", str(tmp_path / "none.keras"), initial=None)
    with pytest.raises(ValueError, match="There is no model"):
        training.start(settings)
    assert not settings.output.exists()
