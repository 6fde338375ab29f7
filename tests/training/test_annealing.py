"""The rising temperature and the growing images."""

import keras
import numpy as np
import pytest

from coda_keras import CoDANet, DAUConv2D, OneVsAllCrossentropy
from coda_keras.data.images import ImageData
from coda_keras.training import Settings, objective
from coda_keras.training.annealing import AnnealedCrossentropy, growing_sizes

BIAS = -2.0
LOGITS = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")
LABELS = np.array([0, 3, 1, 2, 2])


def loss_at(step, **arguments):
    loss = AnnealedCrossentropy(100.0, 10.0, 8, BIAS, iterations=step, **arguments)
    return float(loss(LABELS, LOGITS))


@pytest.mark.parametrize(("step", "factor"), [(0, 10.0), (4, 10**0.5), (8, 1.0), (99, 1.0)])
def test_logits_are_those_of_the_temperature_of_the_step(step, factor):
    expected = float(OneVsAllCrossentropy()(LABELS, BIAS + factor * (LOGITS - BIAS)))
    assert loss_at(step) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("step", "factor"), [(8, 4.0), (9, 4.0), (10, 1.0)])
def test_small_images_have_fewer_positions(step, factor):
    expected = float(OneVsAllCrossentropy()(LABELS, BIAS + factor * (LOGITS - BIAS)))
    assert loss_at(step, areas=((0, 0.25), (10, 1.0))) == pytest.approx(expected, rel=1e-5)


def test_without_a_count_of_steps_it_is_the_loss_at_t():
    again = keras.losses.deserialize(
        keras.losses.serialize(AnnealedCrossentropy(100.0, 10.0, 8, BIAS, ((0, 0.25),)))
    )
    assert isinstance(again, AnnealedCrossentropy)
    assert again.get_config()["areas"] == [(0, 0.25)]
    expected = float(OneVsAllCrossentropy()(LABELS, LOGITS))
    assert float(again(LABELS, LOGITS)) == pytest.approx(expected)


def test_sizes_end_whole():
    assert growing_sizes(32, 10) == [16] * 4 + [24] * 2 + [32] * 4
    assert growing_sizes(32, 1) == [32]
    assert growing_sizes(1, 3) == [1, 1, 1]


def test_both_sides_grow_and_the_loss_makes_up_for_the_area():
    images, labels = np.zeros((5, 16, 24, 3), "uint8"), np.zeros(5, "int32")
    data = ImageData(images, labels, images, labels, ["one"])
    settings = Settings(grow=True, epochs=5)
    sizes = [(8, 12)] * 2 + [(12, 18)] + [(16, 24)] * 2
    assert objective.image_sizes(settings, data) == sizes
    net = CoDANet([DAUConv2D(1, 2, 3)], image_size=(16, 24))
    areas = objective.loss(settings, net, 10, data).areas
    assert areas == [(0, 1 / 4), (20, 9 / 16), (30, 1)]
