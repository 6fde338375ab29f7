import json
from pathlib import Path

import keras
import numpy as np
import pytest
from processes import run_in_process

from coda_keras import (
    CoDANet,
    ConfusionAccuracy,
    DAUConv2D,
    OneVsAllAccuracy,
    OneVsAllCrossentropy,
    encode,
    figures,
)
from coda_keras.explanation.explanation import Explanation

pytestmark = pytest.mark.tensorflow

NAMES = ["cat", "dog", "capybara"]
IMAGES, STEPS, BATCH = 5, 3, 4
ARGUMENTS = {
    "xla": False,
    "data": "somewhere",
    "output": Path("runs"),
    "limit_train": 100,
    "replicas": None,
    "epochs": 2,
    "temperature": 2.0,
}
SHOWN = {"temperature": 2.0, "epochs": 2, "xla": False}
CARDS = ["contribution_maps/1", "contribution_maps/2"]
SCALARS = {
    "train": ["epoch_accuracy", "epoch_images_per_second", "epoch_learning_rate", "epoch_loss"],
    "validation": [
        *(f"epoch_recall/{name}" for name in NAMES),
        "epoch_accuracy",
        "epoch_loss",
    ],
    ".": ["hparams/accuracy", "hparams/loss"],
    "explanations": [
        "completeness_residual",
        "last_layer_alignment/other_classes",
        "last_layer_alignment/true_class",
        "layer_alignment/first",
        "layer_alignment/second",
    ],
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
    accuracy = ConfusionAccuracy(len(NAMES))
    net.compile(keras.optimizers.Adam(rate), OneVsAllCrossentropy(), metrics=[accuracy])
    return net


def train(log_dir, net, epochs, callbacks=()):
    from coda_keras.tensorboard.callbacks import tensorboard_callbacks

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

    def plugins(self):
        return self.accumulator.summary_metadata and {
            metadata.plugin_data.plugin_name
            for metadata in self.accumulator.summary_metadata.values()
        }

    def description(self, tag):
        return self.accumulator.SummaryMetadata(tag).summary_description

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
        assert events.tags("scalars") == sorted(tags)
        for tag in tags:
            assert events.steps(tag) == list(range(epochs)), tag
    explanations = Events(log_dir / "explanations")
    for tag in ("layer_cosines/first", "layer_cosines/second"):
        assert explanations.steps(tag) == list(range(epochs)), tag
    # Pictures of the epochs between may have taken too long.
    for tag in (*CARDS, "contributions"):
        steps = explanations.steps(tag)
        assert steps == sorted(steps) and {0, epochs - 1} <= {*steps} <= {*range(epochs)}, tag
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
            written = events.values(f"epoch_{name}")
            np.testing.assert_allclose(written, history[prefix + name], rtol=1e-6)
    train = Events(log_dir / "train")
    np.testing.assert_allclose(train.values("epoch_learning_rate"), [5e-3, 2.5e-3], rtol=1e-6)
    assert (train.values("epoch_images_per_second") > 0).all()


def test_maps_are_those_of_the_true_class_and_the_strongest_other(run):
    import tensorflow as tf

    log_dir, net, _ = run
    events = Events(log_dir / "explanations")
    assert events.tags("images") == CARDS
    images, labels = (array[:IMAGES] for array in make_data())
    logits = np.asarray(net(images), "float64")
    masked = np.where(np.eye(len(NAMES), dtype=bool)[labels], -np.inf, logits)
    others = masked.argmax(axis=1)
    # Where the net is right the other class is the runner-up, else the one predicted.
    assert {*(others == logits.argmax(axis=1))} == {True, False}
    shown = {"true class": labels, "strongest other": others}
    explained = {title: net.explain(images, ids).numpy() for title, ids in shown.items()}
    for card, part in zip(CARDS, (slice(0, 4), slice(4, 5))):
        columns = [
            figures.Column(
                title,
                explained[title].contribution_map[part],
                [
                    f"{NAMES[label]}, {1 / (1 + np.exp(-row[label])):.2f}"
                    for label, row in zip(ids[part], logits[part])
                ],
            )
            for title, ids in shown.items()
        ]
        weights = figures.weights_rgb(explained["true class"].weights[part])
        columns.append(figures.Column("weights", weights, pictures=True))
        # 100 logits over 30 pixels, whatever the epoch.
        expected = figures.figure_rgb(
            figures.map_table(images[part], columns, scale=100 / 30, panel=0.95)
        )
        width, height, png = events.values(card)[-1]
        picture = tf.io.decode_png(png).numpy().astype("float64")
        assert picture.shape == (int(height), int(width), 3) == expected.shape
        # Rounding may move a colour by one step.
        assert np.abs(picture - expected).mean() < 0.5


def test_a_net_of_one_class_has_the_map_of_that_class(tmp_path):
    from coda_keras.tensorboard.callbacks import ExplanationBoard

    images = make_data()[0][:IMAGES]
    board = ExplanationBoard(tmp_path, images, [0] * IMAGES, NAMES[:1])
    board.set_model(CoDANet([DAUConv2D(1, 3, 3)], temperature=2.0, image_size=(6, 5)))
    board.on_epoch_end(0)
    board.close()
    assert Events(tmp_path / "explanations").tags("images") == CARDS


def test_classes_are_told_apart(run):
    log_dir, net, _ = run
    images, labels = make_data()
    predicted = np.asarray(net(images)).argmax(axis=1)
    events = Events(log_dir / "validation")
    for label, name in enumerate(NAMES):
        expected = np.mean(predicted[labels == label] == label)
        written = events.values(f"epoch_recall/{name}")[-1]
        assert written == pytest.approx(expected)
    counts = np.zeros((len(NAMES),) * 2)
    np.add.at(counts, (labels, predicted), 1)
    expected = figures.figure_rgb(figures.confusion_matrix(counts, NAMES))
    _, _, png = events.values("confusion_matrix")[-1]
    import tensorflow as tf

    assert np.abs(tf.io.decode_png(png).numpy().astype("float64") - expected).mean() < 0.5


def test_every_tag_is_described(run):
    for folder in SCALARS:
        events = Events(run[0] / folder)
        for plugin in ("scalars", "images", "histograms"):
            tags = events.tags(plugin) if plugin in events.plugins() else []
            for tag in tags:
                assert len(events.description(tag)) > 30, tag


def test_accuracy_and_maps_come_before_what_layers_have(run):
    tags = [
        tag
        for folder in SCALARS
        for plugin in ("scalars", "images", "histograms")
        if plugin in Events(run[0] / folder).plugins()
        for tag in Events(run[0] / folder).tags(plugin)
    ]
    groups = sorted({tag.partition("/")[0] for tag in tags})
    layers = [name for name in groups if "layer" in name]
    assert len(layers) == 3 and groups[-3:] == layers


def test_contributions_are_stored_as_numbers(run):
    from coda_keras.explorer.packing import unpack

    log_dir, net, _ = run
    events = Events(log_dir / "explanations")
    assert events.tags("explanations") == ["contributions"]
    assert events.steps("contributions") == [0, 1]
    manifest, *blobs = events.values("contributions")[-1]
    manifest = json.loads(manifest)
    images, labels = (array[:IMAGES] for array in make_data())
    explanation = net.explain(images, "all").numpy()
    assert (manifest["classes"], manifest["step"]) == (NAMES, 1)
    assert manifest["bias"] == pytest.approx(explanation.bias)
    for index, image in enumerate(manifest["images"]):
        assert image["label"] == labels[index]
        np.testing.assert_allclose(image["logits"], explanation.logits[index], rtol=1e-5)
        for class_id in range(len(NAMES)):
            arrays = unpack(blobs[image["maps"][str(class_id)]])
            expected = explanation.contribution_map[index, class_id]
            np.testing.assert_allclose(arrays["map"], expected, atol=1e-6)
            error = np.abs(arrays["weights"] - explanation.weights[index, class_id]).max()
            assert error < manifest["error"] + 1e-6
        (layers,) = (unpack(blobs[blob]) for blob in image["layers"].values())
        assert layers["maps"].sum() == pytest.approx(layers["contributions"].sum(), abs=1e-3)


def test_a_picture_that_cannot_be_drawn_ends_the_training(tmp_path, monkeypatch):
    def full(*arguments, **options):
        raise OSError("No space is left on the device.")

    monkeypatch.setattr(figures, "map_table", full)
    with pytest.raises(OSError, match="No space is left"):
        train(tmp_path, make_net(), 2)


def test_completeness_is_rounding(run):
    residual = Events(run[0] / "explanations").values("completeness_residual")
    assert (residual < 1e-5).all()


def test_completeness_is_that_of_the_worst_image(tmp_path, monkeypatch):
    """The image whose logit is small is not forgiven for the large logits of others."""
    from coda_keras.tensorboard.callbacks import ExplanationBoard

    logits = np.array([[8, -1, 0], [4, -2.5, 0], [0, 0, 0]], "float32")
    labels, residual = [0, 1, 2], np.array([0.2, -0.3, 0.004], "float32")
    net = make_net()

    def explain(images, class_ids=None):
        maps = np.zeros((3, 2, 6, 5, 6), "float32")
        both = np.stack([residual, np.zeros(3, "float32")], axis=1)
        return Explanation(logits, class_ids, maps, maps, maps[..., 0], np.float32(-2), both)

    monkeypatch.setattr(net, "explain", explain)
    board = ExplanationBoard(tmp_path, make_data()[0][:3], labels, NAMES)
    board.set_model(net)
    # Of which the numbers above are none.
    monkeypatch.setattr(board, "draw", lambda epoch: None)
    board.on_epoch_end(0)
    board.close()
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
        mean = events.values(f"layer_alignment/{layer.name}")[-1]
        np.testing.assert_allclose(mean, np.abs(cosines).mean(), atol=1e-5)
        left, right, count = events.values(f"layer_cosines/{layer.name}")[-1].T
        assert count.sum() == cosines.size
        np.testing.assert_allclose([left[0], right[-1]], [cosines.min(), cosines.max()], atol=1e-4)
        outputs = layer(outputs)
    # Of the last layer the unit of the class, and all others.
    own = np.eye(len(NAMES), dtype=bool)[make_data()[1][:IMAGES]]
    for name, chosen in (("true_class", own), ("other_classes", ~own)):
        written = events.values(f"last_layer_alignment/{name}")[-1]
        np.testing.assert_allclose(written, cosines.mean(axis=(1, 2))[chosen].mean(), atol=1e-5)


def test_arguments_are_hparams_with_the_accuracy_as_metric(run):
    from tensorboard.plugins.hparams import api_pb2, metadata

    content = Events(run[0]).content("hparams")
    start = metadata.parse_session_start_info_plugin_data(content[metadata.SESSION_START_INFO_TAG])
    shown = {n: getattr(v, v.WhichOneof("kind")) for n, v in start.hparams.items()}
    assert {name[3:]: value for name, value in shown.items()} == SHOWN
    experiment = metadata.parse_experiment_plugin_data(content[metadata.EXPERIMENT_TAG])
    # What matters comes first: TensorBoard sorts by name.
    infos = sorted(experiment.hparam_infos, key=lambda info: info.name)
    assert [info.display_name for info in infos] == list(SHOWN)
    assert {info.name for info in infos} == shown.keys()
    accuracy = experiment.metric_infos[0].name
    assert accuracy.tag in SCALARS["."] and accuracy.group == ""
    end = metadata.parse_session_end_info_plugin_data(content[metadata.SESSION_END_INFO_TAG])
    assert end.status == api_pb2.STATUS_SUCCESS


@pytest.mark.parametrize("shown", ["runs", "runs/tiny"])
def test_metrics_of_hparams_are_found_in_one_run_and_in_many(shown, run):
    """What TensorBoard's tab asks its server for, for the folder of a run and for that above."""
    from tensorboard.backend.event_processing import data_provider, plugin_event_multiplexer
    from tensorboard.context import RequestContext
    from tensorboard.plugins.base_plugin import TBContext
    from tensorboard.plugins.hparams import api_pb2, backend_context, list_session_groups

    folder = run[0] if shown == "runs/tiny" else run[0].parent
    multiplexer = plugin_event_multiplexer.EventMultiplexer().AddRunsFromDirectory(str(folder))
    multiplexer.Reload()
    provider = data_provider.MultiplexerDataProvider(multiplexer, str(folder))
    context, request = RequestContext(), api_pb2.ListSessionGroupsRequest()
    backend = backend_context.Context(TBContext(data_provider=provider))
    statuses = [api_pb2.STATUS_SUCCESS, api_pb2.STATUS_RUNNING, api_pb2.STATUS_UNKNOWN]
    request.allowed_statuses.extend(statuses)
    request.slice_size = 10
    experiment = backend.experiment_from_metadata(
        context, "", True, backend.hparams_metadata(context, ""), []
    )
    request.col_params.extend(
        api_pb2.ColParams(metric=info.name) for info in experiment.metric_infos
    )
    (group,) = list_session_groups.Handler(context, backend, "", request).run().session_groups
    metrics = {value.name.tag: value.value for value in group.metric_values}
    history = run[2]
    assert metrics == {
        "hparams/accuracy": pytest.approx(history["val_accuracy"][-1]),
        "hparams/loss": pytest.approx(history["val_loss"][-1]),
    }


def test_the_graph_names_the_layers_as_they_are_named(run):
    graph = Events(run[0]).accumulator.Graph()
    scopes = {node.name.partition("/")[0] for node in graph.node if "/" in node.name}
    assert scopes >= {"first", "second", "sum_pooling", "temperature"}
    assert not {scope for scope in scopes if scope.startswith(("first_", "second_"))}
    names = {node.name for node in graph.node}
    inputs = {name.lstrip("^").split(":")[0] for node in graph.node for name in node.input}
    assert inputs <= names


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
    from coda_keras.tensorboard.callbacks import tensorboard_callbacks

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
    from coda_keras.tensorboard.callbacks import ExplanationBoard

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


@pytest.mark.process
def test_two_replicas(run, tmp_path):
    run_in_process(train_two_replicas, tmp_path)
    assert_series_complete(tmp_path, epochs=2)
    # The same training on one device, as all batches divide evenly.
    for folder, tag in (("validation", "epoch_loss"), ("explanations", "layer_alignment/first")):
        expected = Events(run[0] / folder).values(tag)
        np.testing.assert_allclose(Events(tmp_path / folder).values(tag), expected, atol=1e-4)
