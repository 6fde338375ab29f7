import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from coda_keras import (
    CoDANet,
    DAUConv2D,
    OneVsAllAccuracy,
    OneVsAllCrossentropy,
    encode,
    figures,
)
from coda_keras.explanation import Explanation

pytestmark = pytest.mark.tensorflow

NAMES = ["cat", "dog", "capybara"]
IMAGES, STEPS, BATCH = 5, 3, 4
ARGUMENTS = {"epochs": 2, "learning_rate": 1e-2, "xla": False, "out": Path("runs"), "limit": None}
SCALARS = {
    "train": ["epoch_accuracy", "epoch_images_per_second", "epoch_learning_rate", "epoch_loss"],
    "validation": ["epoch_accuracy", "epoch_loss"],
    "explanations": ["completeness_residual", "mean_alignment/first", "mean_alignment/second"],
}


class Interrupt(keras.callbacks.Callback):
    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            raise KeyboardInterrupt


def make_data():
    rng = np.random.default_rng(0)
    images = rng.uniform(size=(STEPS * BATCH, 6, 5, 3)).astype("float32")
    return images, rng.integers(0, len(NAMES), size=len(images))


def make_net():
    keras.utils.set_random_seed(2)
    layers = [
        DAUConv2D(4, 3, 3, strides=2, name="first"),
        DAUConv2D(len(NAMES), 3, 1, name="second"),
    ]
    net = CoDANet(layers, temperature=2.0, image_size=(6, 5))
    rate = keras.optimizers.schedules.ExponentialDecay(1e-2, STEPS, 0.5, staircase=True)
    net.compile(keras.optimizers.Adam(rate), OneVsAllCrossentropy(), metrics=[OneVsAllAccuracy()])
    return net


def train(log_dir, net, epochs, callbacks=()):
    from coda_keras.tf.summaries import tensorboard_callbacks

    images, labels = make_data()
    boards = tensorboard_callbacks(
        log_dir, images[:IMAGES], labels[:IMAGES], NAMES, STEPS * BATCH, ARGUMENTS
    )
    return net.fit(
        images,
        labels,
        validation_data=(images, labels),
        batch_size=BATCH,
        epochs=epochs,
        callbacks=[*boards, *callbacks],
        verbose=0,
    )


class Events:
    """The summaries in one folder, read back with TensorBoard's own reader."""

    def __init__(self, folder):
        from tensorboard.backend.event_processing import event_accumulator as ea

        self.accumulator = ea.EventAccumulator(str(folder), size_guidance={ea.TENSORS: 0}).Reload()

    def tags(self, plugin):
        return sorted(self.accumulator.PluginTagToContent(plugin))

    def content(self, plugin):
        return self.accumulator.PluginTagToContent(plugin)

    def steps(self, tag):
        return [event.step for event in self.accumulator.Tensors(tag)]

    def values(self, tag):
        import tensorflow as tf

        events = self.accumulator.Tensors(tag)
        return np.array([tf.make_ndarray(event.tensor_proto) for event in events])

    def has_graph(self):
        return self.accumulator.Tags()["graph"]


def assert_series_complete(log_dir, epochs):
    for folder, tags in SCALARS.items():
        events = Events(log_dir / folder)
        assert events.tags("scalars") == tags
        for tag in tags:
            assert events.steps(tag) == list(range(epochs)), tag
    explanations = Events(log_dir / "explanations")
    for tag in ("contribution_maps", "alignment/first", "alignment/second"):
        assert explanations.steps(tag) == list(range(epochs)), tag
    run = Events(log_dir)
    assert run.steps("_hparams_/session_start_info") == [0]
    assert run.has_graph()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    log_dir = tmp_path_factory.mktemp("runs") / "tiny"
    net = make_net()
    return log_dir, net, train(log_dir, net, epochs=2).history


def test_every_series_has_a_step_an_epoch(run):
    assert_series_complete(run[0], epochs=2)


def test_scalars_are_those_of_fit(run):
    log_dir, _, history = run
    for folder, prefix in (("train", ""), ("validation", "val_")):
        events = Events(log_dir / folder)
        for name in ("loss", "accuracy"):
            found = events.values(f"epoch_{name}")
            np.testing.assert_allclose(found, history[prefix + name], rtol=1e-6)
    train = Events(log_dir / "train")
    np.testing.assert_allclose(train.values("epoch_learning_rate"), [5e-3, 2.5e-3], rtol=1e-6)
    assert (train.values("epoch_images_per_second") > 0).all()


def test_maps_are_those_of_true_and_predicted_class(run):
    import tensorflow as tf

    log_dir, net, _ = run
    events = Events(log_dir / "explanations")
    assert events.tags("images") == ["contribution_maps"]
    pictures = []
    for width, height, png in events.values("contribution_maps"):
        pictures.append(tf.io.decode_png(png).numpy().astype("float64"))
        assert pictures[-1].shape == (int(height), int(width), 3)
    images, labels = (array[:IMAGES] for array in make_data())
    true, predicted = net.explain(images, labels).numpy(), net.explain(images).numpy()
    assert (true.class_ids != predicted.class_ids).any()
    titles = [
        f"true {NAMES[one]} {1 / (1 + np.exp(-logits[one])):.2f}, "
        f"predicted {NAMES[other]} {1 / (1 + np.exp(-logits[other])):.2f}"
        for one, other, logits in zip(labels, predicted.class_ids, true.logits)
    ]
    maps = np.stack([true.contribution_map, predicted.contribution_map], axis=1)
    gallery = figures.gallery(images, maps, titles, columns=2, weights=true.weights)
    expected = figures.figure_rgb(gallery)
    # Rounding may move a colour by one step.
    assert np.abs(pictures[-1] - expected).mean() < 0.5


def test_contributions_are_stored_as_numbers(run):
    from coda_keras.explorer.packing import unpack

    log_dir, net, _ = run
    events = Events(log_dir / "explanations")
    assert events.tags("explanations") == ["contributions"]
    assert events.steps("contributions") == [0, 1]
    manifest, *blobs = events.values("contributions")[-1]
    manifest = json.loads(manifest)
    images, labels = (array[:IMAGES] for array in make_data())
    found = net.explain(images, "all").numpy()
    assert (manifest["classes"], manifest["step"]) == (NAMES, 1)
    assert manifest["bias"] == pytest.approx(found.bias)
    for index, image in enumerate(manifest["images"]):
        assert image["label"] == labels[index]
        np.testing.assert_allclose(image["logits"], found.logits[index], rtol=1e-5)
        for class_id in range(len(NAMES)):
            arrays = unpack(blobs[image["maps"][str(class_id)]])
            expected = found.contribution_map[index, class_id]
            np.testing.assert_allclose(arrays["map"], expected, atol=1e-6)
            error = np.abs(arrays["weights"] - found.weights[index, class_id]).max()
            assert error < manifest["error"] + 1e-6
        (layers,) = (unpack(blobs[blob]) for blob in image["layers"].values())
        assert layers["maps"].sum() == pytest.approx(layers["contributions"].sum(), abs=1e-3)


def test_completeness_is_rounding(run):
    residual = Events(run[0] / "explanations").values("completeness_residual")
    assert (residual < 1e-5).all()


def test_completeness_is_that_of_the_worst_image(tmp_path, monkeypatch):
    """The image whose logit is small is not forgiven for the large logits of others."""
    from coda_keras.tf.summaries import ExplanationBoard

    logits = np.array([[8, -1, 0], [4, -2.5, 0], [0, 0, 0]], "float32")
    labels, residual = [0, 1, 2], np.array([0.2, -0.3, 0.004], "float32")
    net = make_net()

    def explain(images, class_ids=None):
        maps = np.zeros((3, 6, 5, 6), "float32")
        ids = np.array(labels, "int32")
        return Explanation(logits, ids, maps, maps, maps[..., 0], np.float32(-2), residual)

    monkeypatch.setattr(net, "explain", explain)
    board = ExplanationBoard(tmp_path, make_data()[0][:3], labels, NAMES)
    board.set_model(net)
    board.on_epoch_end(0)
    # |residual| / max(|logit + 2|, 0.01): 0.02, 0.6, 0.002
    value = Events(tmp_path / "explanations").values("completeness_residual")
    np.testing.assert_allclose(value, [0.6], rtol=1e-6)


def reference_cosines(layer, inputs):
    """Cosine between the materialised w(x) and the patch, in float64, position by position."""
    weights = np.asarray(layer.dynamic_weights(inputs), "float64")
    pad, size = (layer.kernel_size - 1) // 2, layer.kernel_size
    padded = np.pad(np.asarray(inputs, "float64"), ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    cosines = np.zeros(weights.shape[:4])
    for image, row, column, unit in np.ndindex(cosines.shape):
        top, left = row * layer.strides, column * layer.strides
        patch = padded[image, top : top + size, left : left + size].ravel()
        w = weights[image, row, column, unit].ravel()
        cosines[image, row, column, unit] = w @ patch / np.linalg.norm(w) / np.linalg.norm(patch)
    return cosines


def test_alignment_is_the_cosine_of_weights_and_patches(run):
    log_dir, net, _ = run
    events = Events(log_dir / "explanations")
    outputs = encode(make_data()[0][:IMAGES])
    for layer in net.body:
        cosines = reference_cosines(layer, outputs)
        mean = events.values(f"mean_alignment/{layer.name}")[-1]
        np.testing.assert_allclose(mean, cosines.mean(), atol=1e-5)
        left, right, count = events.values(f"alignment/{layer.name}")[-1].T
        assert count.sum() == cosines.size
        np.testing.assert_allclose([left[0], right[-1]], [cosines.min(), cosines.max()], atol=1e-4)
        outputs = layer(outputs)


def test_arguments_are_hparams_with_the_accuracy_as_metric(run):
    from tensorboard.plugins.hparams import api_pb2, metadata

    content = Events(run[0]).content("hparams")
    start = metadata.parse_session_start_info_plugin_data(content[metadata.SESSION_START_INFO_TAG])
    shown = {n: getattr(v, v.WhichOneof("kind")) for n, v in start.hparams.items()}
    assert shown == {**ARGUMENTS, "out": "runs", "limit": "None"}
    experiment = metadata.parse_experiment_plugin_data(content[metadata.EXPERIMENT_TAG])
    assert sorted(info.name for info in experiment.hparam_infos) == sorted(ARGUMENTS)
    accuracy = experiment.metric_infos[0].name
    assert (accuracy.group, accuracy.tag) == ("validation", "epoch_accuracy")
    assert accuracy.tag in SCALARS[accuracy.group]
    end = metadata.parse_session_end_info_plugin_data(content[metadata.SESSION_END_INFO_TAG])
    assert end.status == api_pb2.STATUS_SUCCESS


def test_graph_shows_the_layers(run):
    graph = Events(run[0]).accumulator.Graph()
    scopes = {node.name.partition("/")[0] for node in graph.node}
    assert any(scope.startswith("first") for scope in scopes)
    assert any(scope.startswith("second") for scope in scopes)


def test_series_continue_after_an_interruption(tmp_path):
    def backup():
        return keras.callbacks.BackupAndRestore(tmp_path / "backup")

    log_dir = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        train(log_dir, make_net(), 4, [backup(), Interrupt(epoch=2)])
    train(log_dir, make_net(), 4, [backup()])
    assert_series_complete(log_dir, epochs=4)
    rates = Events(log_dir / "train").values("epoch_learning_rate")
    np.testing.assert_allclose(rates, 1e-2 * 0.5 ** np.arange(1, 5), rtol=1e-6)


def test_other_classifiers_have_all_but_explanations(tmp_path):
    from coda_keras.tf.summaries import tensorboard_callbacks

    images, labels = make_data()
    model = keras.Sequential(
        [keras.Input((6, 5, 3)), keras.layers.Flatten(), keras.layers.Dense(3, name="head")]
    )
    model.compile("sgd", OneVsAllCrossentropy(), metrics=[OneVsAllAccuracy()], jit_compile=False)
    boards = tensorboard_callbacks(tmp_path, None, None, NAMES, len(images), {})
    model.fit(images, labels, validation_data=(images, labels), callbacks=boards, verbose=0)
    assert Events(tmp_path / "validation").steps("epoch_accuracy") == [0]
    assert Events(tmp_path).has_graph()
    assert not (tmp_path / "explanations").exists()


def test_wrong_images_are_refused(tmp_path):
    from coda_keras.tf.summaries import ExplanationBoard

    images, labels = make_data()
    with pytest.raises(ValueError, match="label for each"):
        ExplanationBoard(tmp_path, images, labels[:-1], NAMES)
    with pytest.raises(ValueError, match="0 to 1"):
        ExplanationBoard(tmp_path, images, labels, NAMES[:2])


def train_two_replicas(log_dir):
    """Runs in a process of its own: logical devices are fixed before TensorFlow starts."""
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
        net = make_net()
    train(Path(log_dir), net, epochs=2)


def test_two_replicas(run, tmp_path):
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            f"import test_summaries as t; t.train_two_replicas({str(tmp_path)!r})",
        ],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert_series_complete(tmp_path, epochs=2)
    # The same training on one device, as all batches divide evenly.
    for folder, tag in (("validation", "epoch_loss"), ("explanations", "mean_alignment/first")):
        expected = Events(run[0] / folder).values(tag)
        np.testing.assert_allclose(Events(tmp_path / folder).values(tag), expected, atol=1e-4)
