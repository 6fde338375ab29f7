import json
from pathlib import Path

import pytest

from coda_keras.evaluation import published_cifar10

REFERENCE = Path(__file__).parents[3] / "shared/reference/cifar10_published.json"


def test_published_data_is_complete():
    data = published_cifar10()
    assert data["url"] == "https://github.com/moboehle/CoDA-Nets"
    assert len(data["models"]) == 6
    assert len(data["models"]["9L-S-CoDA-SQ-1000"]) == 8
    for methods in data["models"].values():
        for metrics in methods.values():
            localisation, removal = metrics["localisation"], metrics["pixel_removal"]
            quartiles = localisation["percentiles_25_50_75"]
            assert quartiles == sorted(quartiles)
            assert 0 < quartiles[0] < localisation["mean"] < 1
            curve = removal["mean_target_probability"]
            assert len(curve) == removal["points"] == 129
            assert 0 < min(curve) < max(curve) < 1


def test_facts_that_the_paper_states():
    methods = published_cifar10()["models"]["9L-S-CoDA-SQ-1000"]
    means = {name: metrics["localisation"]["mean"] for name, metrics in methods.items()}
    assert max(means, key=means.get) == "Ours"
    # DeepLIFT has no rule for dynamic linear layers and falls back to Input×Gradient.
    assert methods["DeepLIFT"]["localisation"] == methods["IxG"]["localisation"]


@pytest.mark.skipif(not REFERENCE.exists(), reason="needs the reference file")
def test_published_data_equals_the_reference():
    assert published_cifar10()["models"] == json.loads(REFERENCE.read_text())["models"]
