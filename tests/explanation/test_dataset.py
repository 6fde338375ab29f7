import keras
import numpy as np
import pytest
from processes import run_in_process

import coda_keras
from coda_keras import CoDANet, DAUConv2D, Explanation, explain_dataset

CLASSES = 4


def make_net(seed=1, **kwargs):
    keras.utils.set_random_seed(seed)
    layers = [DAUConv2D(6, 4, 3, strides=2), DAUConv2D(CLASSES, 5, 3)]
    return CoDANet(layers, temperature=3.0, **kwargs)


def make_batches(rng, sizes, channels=3):
    images = [rng.uniform(size=(size, 7, 6, channels)).astype("float32") for size in sizes]
    labels = [rng.integers(0, CLASSES, size=size) for size in sizes]
    return images, labels


def assert_equal(computed, expected):
    for name in Explanation.axes:
        one, other = getattr(computed, name), getattr(expected, name)
        assert isinstance(one, (np.ndarray, np.floating))
        assert one.dtype == other.dtype
        # The residual is rounding itself.
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=2e-6, err_msg=name)


@pytest.mark.parametrize("class_ids", [None, "labels", "all", 2])
def test_equals_explain_batch_by_batch(rng, class_ids):
    net = make_net()
    images, labels = make_batches(rng, [4, 4, 1])
    explained = list(explain_dataset(net, list(zip(images, labels)), class_ids, progress=False))
    assert len(explained) == 3
    for explanation, batch, truth in zip(explained, images, labels):
        expected = net.explain(batch, truth if class_ids == "labels" else class_ids)
        assert_equal(explanation, expected.numpy())


@pytest.mark.parametrize("form", ["integers", "column", "one-hot"])
def test_labels_in_every_form(rng, form):
    net = make_net()
    images, labels = make_batches(rng, [4])
    given = {
        "integers": labels[0],
        "column": labels[0][:, None],
        "one-hot": np.eye(CLASSES)[labels[0]],
    }[form]
    (explained,) = explain_dataset(net, [(images[0], given)], "labels", progress=False)
    np.testing.assert_array_equal(explained.class_ids, labels[0])


def test_bare_and_encoded_images(rng):
    net = make_net()
    images, _ = make_batches(rng, [3])
    encoded = [np.concatenate([batch, 1 - batch], axis=-1) for batch in images]
    bare = list(explain_dataset(net, images, progress=False))
    for one, other in zip(bare, explain_dataset(net, encoded, progress=False)):
        assert_equal(one, other)


def test_chosen_fields_only(rng):
    net = make_net()
    images, _ = make_batches(rng, [3])
    chosen = ("contribution_map", "class_ids")
    (explanation,) = explain_dataset(net, images, fields=chosen, progress=False)
    expected = net.explain(images[0]).numpy()
    np.testing.assert_allclose(explanation.contribution_map, expected.contribution_map, atol=2e-6)
    assert explanation.arrays().keys() == set(chosen)


def test_is_lazy_and_takes_endless_generators(rng):
    taken = []

    def endless():
        while True:
            taken.append(1)
            yield rng.uniform(size=(2, 5, 5, 3)).astype("float32")

    explanations = explain_dataset(make_net(), endless(), progress=False)
    assert not taken
    for _ in range(3):
        assert next(explanations).contribution_map.shape == (2, 5, 5)
    assert len(taken) == 3


def test_sees_the_weights_of_now(rng):
    net = make_net()
    images, _ = make_batches(rng, [2, 2])
    explanations = explain_dataset(net, images, progress=False)
    next(explanations)
    net.set_weights([2 * weight for weight in net.get_weights()])
    assert_equal(next(explanations), net.explain(images[1]).numpy())


@pytest.mark.tensorflow
def test_tf_data(rng, capsys, monkeypatch):
    import tensorflow as tf

    net = make_net()
    images = rng.uniform(size=(7, 6, 6, 3)).astype("float32")
    labels = rng.integers(0, CLASSES, size=7)
    dataset = tf.data.Dataset.from_tensor_slices((images, labels)).batch(3)
    monkeypatch.setattr("coda_keras.utils.progress.LINE_SECONDS", 0.0)
    explanations = list(explain_dataset(net, dataset, "labels"))
    maps = np.concatenate([explanation.contribution_map for explanation in explanations])
    expected = net.explain(images, labels).numpy()
    np.testing.assert_allclose(maps, expected.contribution_map, atol=2e-6)
    assert "explaining: 1/3 (33%)" in capsys.readouterr().err


def test_progress_bar_can_be_switched_off(rng, capsys):
    images, _ = make_batches(rng, [2])
    list(explain_dataset(make_net(), images, progress=False))
    assert capsys.readouterr().err == ""


def test_wrong_arguments_are_refused_at_once():
    net = make_net()
    with pytest.raises(ValueError, match="map"):
        explain_dataset(net, [], fields=("map",))
    with pytest.raises(ValueError, match="fields"):
        explain_dataset(net, [], fields=())
    for class_ids in ("truth", 1.5, np.zeros(3, "int32")):
        with pytest.raises(ValueError, match="class_ids"):
            explain_dataset(net, [], class_ids)
    with pytest.raises(ValueError, match="strategy"):
        list(explain_dataset(net, [np.zeros((1, 5, 5, 3))], strategy="mirrored", progress=False))


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (np.zeros((5, 5, 3), "float32"), r"\(5, 5, 3\)"),
        (np.zeros((1, 5, 5, 3), "uint8"), "uint8"),
        ({"image": np.zeros((1, 5, 5, 3))}, "dict"),
        (np.zeros((1, 5, 5, 3), "float32"), "images, labels"),
        ((np.zeros((2, 5, 5, 3), "float32"), [1]), "2 integer labels"),
        ((np.zeros((2, 5, 5, 3), "float32"), [1, CLASSES]), "0 to 3"),
        ((np.zeros((2, 5, 5, 3), "float32"), [1.0, 2.0]), "float"),
    ],
)
def test_wrong_batches_are_refused(batch, message):
    with pytest.raises(ValueError, match=message):
        next(explain_dataset(make_net(), [batch], "labels", progress=False))


def check_two_replicas():
    """Runs in a process of its own: logical devices are fixed before TensorFlow starts."""
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    plain = make_net(image_size=(7, 6))
    with strategy.scope():
        mirrored = make_net(image_size=(7, 6))
    mirrored.set_weights(plain.get_weights())
    replicas = []
    linearize = mirrored.body[0].linearize

    def watched(inputs):
        replicas.append(tf.distribute.get_replica_context().num_replicas_in_sync)
        return linearize(inputs)

    mirrored.body[0].linearize = watched
    images, labels = make_batches(np.random.default_rng(3), [6, 5, 1])
    batches = list(zip(images, labels))
    for net, given, class_ids in [
        (mirrored, None, None),
        (mirrored, None, "labels"),
        (mirrored, None, "all"),
        (plain, strategy, "labels"),
    ]:
        explained = list(explain_dataset(net, batches, class_ids, strategy=given, progress=False))
        assert len(explained) == len(batches)
        for explanation, (batch, truth) in zip(explained, batches):
            expected = plain.explain(batch, truth if class_ids == "labels" else class_ids)
            assert_equal(explanation, expected.numpy())
    assert set(replicas) == {2}


@pytest.mark.process
@pytest.mark.tensorflow
def test_two_replicas_equal_one():
    run_in_process(check_two_replicas)


def test_is_public():
    assert coda_keras.explain_dataset is explain_dataset
