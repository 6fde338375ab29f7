"""Sparseness and complexity."""

import numpy as np
import pytest

from coda_keras import evaluation
from coda_keras.evaluation.complexity import entropy
from coda_keras.evaluation.sparseness import gini

ONE_HOT = np.eye(1, 20, 7).reshape(4, 5)


def test_a_single_pixel():
    assert gini(-3 * ONE_HOT) == pytest.approx(1 - 1 / 20)
    assert entropy(-3 * ONE_HOT) == 0


def test_uniform_map_whatever_its_signs():
    signs = np.where(np.random.default_rng(0).random((4, 5)) < 0.5, -2.0, 2.0)
    assert gini(signs) == pytest.approx(0, abs=1e-12)
    assert entropy(signs) == pytest.approx(np.log(20))


def test_map_of_zeros_counts_as_uniform():
    assert gini(np.zeros((4, 5))) == 0
    assert entropy(np.zeros((4, 5))) == pytest.approx(np.log(20))


def test_half_of_the_pixels():
    """k equal pixels of n have the index 1 - k/n and the entropy log k."""
    half = np.arange(20).reshape(4, 5) % 2
    assert gini(half) == pytest.approx(0.5)
    assert entropy(half) == pytest.approx(np.log(10))


def test_random_maps_against_the_definitions():
    values = np.random.default_rng(0).normal(size=(4, 5))
    v = np.abs(values).ravel()
    # The Gini index is half the relative mean absolute difference of all pairs.
    expected = np.abs(np.subtract.outer(v, v)).mean() / (2 * v.mean())
    assert gini(values) == pytest.approx(expected)
    assert gini(1e-30 * values) == pytest.approx(expected)
    p = v / v.sum()
    assert entropy(values) == pytest.approx(-(p * np.log(p)).sum())


def test_metrics_measure_each_map():
    images, class_ids = np.zeros((2, 4, 5, 3), "float32"), np.zeros(2, int)
    maps = np.stack([ONE_HOT, np.ones((4, 5))])
    for name, expected in (("sparseness", [0.95, 0]), ("complexity", [0, np.log(20)])):
        rows = evaluation.get(name).measure(None, images, class_ids, lambda *args: maps)
        np.testing.assert_allclose(rows["scores"], expected, atol=1e-12)
