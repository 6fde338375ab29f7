"""Maps learned from a teacher: the loss and its gradients, what is trained and what is saved."""

import keras
import numpy as np
import oracle
import pytest
from conftest import EXACT_DTYPE, as_oracle, gradients, loss_of
from keras import ops

from coda_keras import CoDANet, DAUConv2D
from coda_keras.models.map_teacher import MapTeacher, cosines

STRENGTH, TEMPERATURE, BIAS, CLASSES = 0.7, 3.0, -1.0, 3
LABELS = np.array([1, 0, 2, 1])


def make_net(seed, dtype=EXACT_DTYPE, classes=CLASSES, temperature=TEMPERATURE, **options):
    keras.utils.set_random_seed(seed)
    layers = [DAUConv2D(3, 2, 3, dtype=dtype), DAUConv2D(classes, 2, 1, dtype=dtype)]
    options = {"logit_bias": BIAS, "image_size": (3, 4), **options}
    return CoDANet(layers, temperature, dtype=dtype, **options)


def make_student(teacher, dtype=EXACT_DTYPE):
    net = make_net(1, dtype)
    net.map_teacher = MapTeacher(teacher, STRENGTH)
    return net


def contribution_map(image, layers, number):
    encoded = oracle.encode(image)
    rows = oracle.weights_of_logits(encoded, layers, TEMPERATURE).reshape(CLASSES, *encoded.shape)
    return (rows[number] * encoded).sum(axis=-1)


def reference(layers, teacher, images):
    """Cross-entropy, and what maps lack in likeness to the teacher's, in float64."""
    losses, cosine = [], []
    for image, label in zip(images, LABELS):
        encoded = oracle.encode(image)
        logits = oracle.logits(encoded, layers, TEMPERATURE, BIAS)
        losses.append(np.logaddexp(0, logits) - np.eye(CLASSES)[label] * logits)
        predicted = np.argmax(oracle.logits(encoded, teacher, TEMPERATURE, BIAS))
        own, other = (contribution_map(image, one, predicted) for one in (layers, teacher))
        cosine.append((own * other).sum() / np.linalg.norm(own) / np.linalg.norm(other))
    return np.mean(losses) + STRENGTH * np.mean(1 - np.asarray(cosine))


def test_a_net_without_maps_is_no_teacher():
    with pytest.raises(ValueError, match="net with contribution maps"):
        MapTeacher(keras.Sequential([keras.layers.Dense(2)]))


def test_loss_and_gradients_equal_finite_differences_of_numpy(rng):
    # The scale of a teacher's maps is of no importance.
    teacher = make_net(2, temperature=50.0)
    net = make_student(teacher)
    images = rng.uniform(0.1, 0.9, size=(4, 3, 4, 3)).astype(EXACT_DTYPE)
    value, derivatives = gradients(loss_of(net, LABELS), net.trainable_variables, images)
    derivatives = derivatives[:-1]  # the last is of the images
    assert len(derivatives) == len(net.weights) == 6
    layers, taught = ([as_oracle(layer) for layer in one.body] for one in (net, teacher))
    exact = EXACT_DTYPE == "float64"
    expected = reference(layers, taught, images)
    assert value == pytest.approx(expected, rel=1e-10 if exact else 1e-4)
    directions = [rng.normal(size=gradient.shape) for gradient in derivatives]
    expected = oracle.slope(lambda moved: reference(moved, taught, images), layers, directions)
    total = sum(np.sum(one * other) for one, other in zip(derivatives, directions))
    tolerance = {"rel": 1e-6} if exact else {"rel": 2e-3}
    assert total == pytest.approx(expected, **tolerance)


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_training_minimises_it_and_leaves_the_teacher(dtype, rng):
    images = rng.uniform(0.1, 0.9, size=(4, 3, 4, 3)).astype("float32")
    teacher = make_net(2, "float32")
    before = teacher.get_weights()
    net = make_student(teacher, dtype)
    taught = [as_oracle(layer) for layer in teacher.body]
    expected = reference([as_oracle(layer) for layer in net.body], taught, images)
    net.compile(keras.optimizers.Adam(0.01), metrics=None)
    options = {"batch_size": 4, "verbose": 0, "shuffle": False}
    losses = net.fit(images, LABELS, epochs=20, **options).history["loss"]
    assert losses[0] == pytest.approx(expected, rel=1e-4 if dtype == "float32" else 2e-2)
    assert losses[-1] < losses[0]
    for weight, known in zip(teacher.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, known)


def test_cosines_are_those_of_numpy_and_0_without_a_map(rng):
    maps, others = (rng.normal(size=(3, 4, 5)).astype("float32") for _ in range(2))
    others[2] = 0
    values = ops.convert_to_numpy(cosines(*map(ops.convert_to_tensor, (maps, others))))
    flat, other = maps.reshape(3, -1), others.reshape(3, -1)
    norms = np.linalg.norm(flat, axis=1) * np.linalg.norm(other, axis=1)
    expected = np.divide((flat * other).sum(axis=1), norms, out=np.zeros(3), where=norms > 0)
    np.testing.assert_allclose(values[:, 0], expected, rtol=1e-5)


def test_predictions_and_files_do_not_depend_on_it(tmp_path, rng):
    images = rng.uniform(size=(3, 3, 4, 3)).astype("float32")
    net, plain = make_student(make_net(2, "float32"), "float32"), make_net(1, "float32")
    np.testing.assert_array_equal(*(ops.convert_to_numpy(one(images)) for one in (net, plain)))
    assert net.count_params() == plain.count_params()
    net.save(tmp_path / "net.keras")
    again = keras.models.load_model(tmp_path / "net.keras")
    assert again.map_teacher is None
    np.testing.assert_array_equal(*(ops.convert_to_numpy(one(images)) for one in (again, plain)))


def test_teachers_that_do_not_fit_are_refused(rng):
    images = rng.uniform(size=(4, 3, 4, 3)).astype(EXACT_DTYPE)
    net = make_student(make_net(2, classes=4))
    with pytest.raises(ValueError, match="`map_teacher` must have the classes of the net"):
        net(images, training=True)
    with pytest.raises(ValueError, match="`map_teacher` must be a positive number"):
        MapTeacher(make_net(2), 0.0)
    with pytest.raises(ValueError, match="not built yet, so its maps"):
        MapTeacher(CoDANet([DAUConv2D(3, 2, 3)]))


def test_a_loss_without_its_pass_is_refused():
    with pytest.raises(ValueError, match="`map_teacher` needs the contribution maps"):
        make_student(make_net(2)).map_teacher.loss(LABELS, np.zeros((4, CLASSES)))
