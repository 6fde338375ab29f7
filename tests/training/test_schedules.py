"""The rate over the steps."""

import keras
import numpy as np
import pytest

from coda_keras.training.schedules import Trapezoid


def test_rate_rises_stays_and_falls_to_zero():
    schedule = Trapezoid(0.5, warmup=2, decay=5, total=9)
    rates = [float(schedule(step)) for step in range(11)]
    expected = [0.25, 0.5, 0.5, 0.5, 0.5, 0.5, 0.375, 0.25, 0.125, 0.0, 0.0]
    np.testing.assert_allclose(rates, expected, rtol=1e-6)


def test_without_warmup_it_begins_at_the_peak():
    assert float(Trapezoid(0.5, warmup=0, decay=1, total=2)(0)) == 0.5


def test_longer_training_begins_the_same():
    short, long = Trapezoid(0.5, 2, 5, 9), Trapezoid(0.5, 2, 50, 90)
    assert [float(short(step)) for step in range(6)] == [float(long(step)) for step in range(6)]


def test_saves_what_it_is():
    schedule = Trapezoid(0.5, 2, 5, 9)
    serialize = keras.optimizers.schedules.serialize
    again = keras.optimizers.schedules.deserialize(serialize(schedule))
    assert isinstance(again, Trapezoid)
    assert again.get_config() == schedule.get_config()


@pytest.mark.parametrize("steps", [(3, 2, 9), (2, 9, 9), (-1, 2, 9)])
def test_steps_come_in_order(steps):
    with pytest.raises(ValueError, match="0 <= warmup <= decay < total"):
        Trapezoid(0.5, *steps)
