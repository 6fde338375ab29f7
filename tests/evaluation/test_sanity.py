import random

import keras
import numpy as np
import pytest

from coda_keras import CoDANet, DAUConv2D
from coda_keras.evaluation import cascading_randomisation
from coda_keras.evaluation.sanity import weighted_layers
from coda_keras.evaluation.similarity import rank_correlation, ssim, unit_scaled


def nested_model():
    stem = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(4, 3, padding="same", name="first"),
            keras.layers.BatchNormalization(name="second"),
        ]
    )
    inputs = keras.Input((8, 8, 3))
    outputs = keras.layers.Flatten()(keras.layers.ReLU()(stem(inputs)))
    outputs = keras.layers.Dense(5, name="third")(outputs)
    return keras.Model(inputs, keras.layers.Dense(3, name="fourth")(outputs))


def images():
    return np.random.default_rng(0).random((2, 8, 8, 3), "float32"), np.array([0, 2])


def of_the_image(model, images, class_ids):
    return images.sum(axis=-1) - 1.5


def of_the_model(model, images, class_ids):
    """Depends on every weight: each one drives a pseudo-random pattern."""
    weights = np.concatenate([np.ravel(weight) for weight in model.get_weights()])
    seeds = np.abs(weights.astype("float32")).view("uint32")
    return np.random.default_rng(seeds).normal(size=images.shape[:3])


def test_order_is_from_the_output_backwards():
    result = cascading_randomisation(nested_model(), *images(), of_the_image, progress=False)
    assert result.steps == (("fourth",), ("third",), ("second",), ("first",))
    grouped = cascading_randomisation(
        nested_model(), *images(), of_the_image, steps=2, progress=False
    )
    assert grouped.steps == (("fourth", "third"), ("second", "first"))


def test_map_that_ignores_the_model_stays_the_same():
    result = cascading_randomisation(nested_model(), *images(), of_the_image, progress=False)
    assert result.maps.shape == (5, 2, 8, 8)
    for similarity in (result.rank_correlation, result.ssim):
        for values in similarity.values():
            np.testing.assert_allclose(values, np.ones((4, 2)))
    assert result.summary()["ssim"]["signed"] == pytest.approx([1] * 4)


def test_map_that_depends_on_the_weights_changes_at_every_step():
    model = nested_model()
    model.set_weights([weight + 0.5 for weight in model.get_weights()])
    result = cascading_randomisation(model, *images(), of_the_model, progress=False)
    assert np.abs(result.rank_correlation["signed"]).max() < 0.5
    for before, after in zip(result.maps[:-1], result.maps[1:]):
        assert (before != after).all()


@pytest.mark.parametrize("build", ["nested", "coda"])
def test_every_step_changes_only_its_layers_and_all_are_restored(build):
    if build == "nested":
        model = nested_model()
    else:
        layers = [DAUConv2D(4, 2, 3, name="dau_1"), DAUConv2D(3, 2, 1, name="dau_2")]
        model = CoDANet(layers, image_size=8)
    layers = weighted_layers(model)
    for layer in layers:
        layer.set_weights([weight + 0.5 for weight in layer.get_weights()])
    trained = [layer.get_weights() for layer in layers]
    changed = []

    def attribute(model, images, class_ids):
        same = [
            all(np.array_equal(a, b) for a, b in zip(layer.get_weights(), weights))
            for layer, weights in zip(layers, trained)
        ]
        changed.append(same.count(False))
        assert same == [True] * (len(layers) - changed[-1]) + [False] * changed[-1]
        return of_the_image(model, images, class_ids)

    cascading_randomisation(model, *images(), attribute, progress=False)
    assert changed == list(range(len(layers) + 1))
    for layer, weights in zip(layers, trained):
        for a, b in zip(layer.get_weights(), weights):
            np.testing.assert_array_equal(a, b)


def test_weights_are_restored_after_an_error():
    model = nested_model()
    trained = model.get_weights()
    calls = []

    def attribute(*args):
        calls.append(args)
        if len(calls) == 3:
            raise RuntimeError("interrupted")
        return of_the_image(*args)

    with pytest.raises(RuntimeError, match="interrupted"):
        cascading_randomisation(model, *images(), attribute, progress=False)
    for a, b in zip(model.get_weights(), trained):
        np.testing.assert_array_equal(a, b)


def test_seed_decides_and_leaves_pythons_generator_alone():
    model = nested_model()

    def maps(seed):
        return cascading_randomisation(
            model, *images(), of_the_model, seed=seed, progress=False
        ).maps

    state = random.getstate()
    first = maps(1)
    assert random.getstate() == state
    np.testing.assert_array_equal(first, maps(1))
    assert (first[1:] != maps(2)[1:]).all()


def test_similarities_have_known_values():
    values = np.random.default_rng(0).normal(size=(9, 9))
    assert rank_correlation(values, np.exp(values)) == pytest.approx(1)
    assert rank_correlation(values, -values) == pytest.approx(-1)
    assert rank_correlation(values, np.ones((9, 9))) == 0
    for form in ("signed", "absolute"):

        def similarity(a, b, form=form):
            return ssim(unit_scaled(a)[form], unit_scaled(b)[form])

        assert similarity(values, 3 * values) == pytest.approx(1)
        assert abs(similarity(values[:4, :4], np.zeros((4, 4)))) < 0.2
        assert similarity(values, -values) == pytest.approx(1) or form == "signed"
    assert ssim(*(unit_scaled(sign * values)["signed"] for sign in (1, -1))) < -0.5


def test_arguments_are_checked():
    with pytest.raises(ValueError, match="1 to 4"):
        cascading_randomisation(nested_model(), *images(), of_the_image, steps=5)
    flat = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten()])
    with pytest.raises(ValueError, match="no layer"):
        cascading_randomisation(flat, *images(), of_the_image)
