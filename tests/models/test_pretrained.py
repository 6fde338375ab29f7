"""Trained presets: cards, checksums, what `from_preset` makes of them."""

import hashlib
import json
from pathlib import Path

import keras
import numpy as np
import pytest

from coda_keras import CoDANet
from coda_keras.models import pretrained

SHARED = Path(__file__).resolve().parents[3] / "shared/tfds"
IMAGES = np.random.default_rng(0).uniform(size=(2, 32, 32, 3)).astype("float32")


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A preset `tiny` in a folder of its own, and the net that it was made of."""
    keras.utils.set_random_seed(1)
    net = CoDANet.from_preset("s_coda", classes=4, rank_scale=0.02, temperature=50.0)
    content = pretrained.pack(net.get_weights())
    card = pretrained.Card(
        "tiny",
        "A test.",
        architecture="s_coda",
        rank_scale=0.02,
        rescale="squash",
        temperature=50.0,
        class_names=("a", "b", "c", "d"),
        parameters=net.count_params(),
        test_accuracy=0.5,
        localisation=0.25,
        sha256=hashlib.sha256(content).hexdigest(),
        details={},
    )
    (tmp_path / "tiny.npz").write_bytes(content)
    (tmp_path / "tiny.json").write_text(json.dumps(card._asdict()))
    monkeypatch.setattr(pretrained, "FOLDER", tmp_path)
    pretrained.cards.cache_clear()
    yield net
    monkeypatch.undo()
    pretrained.cards.cache_clear()


def make(**arguments):
    # The card says 4 classes, the sizes of the architecture 10.
    return CoDANet.from_preset("tiny", **arguments)


def test_weights_survive_half_precision():
    weights = [np.random.default_rng(0).normal(size=(3, 4)), np.arange(5.0)]
    packed = pretrained.pack(weights)
    assert packed == pretrained.pack(weights)
    with pytest.raises(ValueError, match="65,504"):
        pretrained.pack([np.array([1e6])])


def test_a_net_comes_back_with_its_weights_and_names(tiny):
    net = make()
    assert net.class_names == ["a", "b", "c", "d"]
    assert (net.temperature, net.name, net.classes) == (50.0, "tiny", 4)
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(net(IMAGES)),
        keras.ops.convert_to_numpy(tiny(IMAGES)),
        atol=1e-3,
    )
    assert CoDANet.from_config(net.get_config()).class_names == net.class_names


def test_other_classes_get_a_new_last_layer_only(tiny):
    net = make(classes=3)
    assert net.classes == 3
    assert net.class_names is None
    for layer, other in zip(net.body[:-1], tiny.body[:-1]):
        for weight, expected in zip(layer.get_weights(), other.get_weights()):
            np.testing.assert_array_equal(weight, expected.astype("float16").astype("float32"))
    # As many classes as before are other classes all the same.
    head, before = make(classes=4).body[-1], tiny.body[-1]
    assert not np.allclose(head.get_weights()[0], before.get_weights()[0], atol=1e-3)


def test_temperature_may_change_and_what_was_trained_may_not(tiny):
    assert make(temperature=5.0).temperature == 5.0
    with pytest.raises(ValueError, match=r"trained with rank_scale=0\.02.*rank_scale=1\.0"):
        make(rank_scale=1.0)
    with pytest.raises(ValueError, match="trained with rescale='squash'"):
        make(rescale="l2")
    assert make(rank_scale=0.02, rescale="squash").count_params() == tiny.count_params()


@pytest.mark.parametrize(
    ("recipe", "fine_tuned"),
    [
        ("coda-keras train cifar10", False),
        ("coda-keras train cifar10 && coda-keras train cifar10 --initial first.keras", False),
        ("coda-keras train cifar10 --initial other.keras", True),
    ],
)
def test_a_card_knows_whether_its_first_run_began_with_another_net(tiny, recipe, fine_tuned):
    card = pretrained.cards()["tiny"]._replace(details={"recipe": recipe})
    assert card.fine_tuned is fine_tuned


def test_presets_are_listed_with_scores(tiny):
    listed = CoDANet.presets()
    assert listed["s_coda"].parameters == 7_782_816
    assert listed["s_coda"].test_accuracy is None
    assert listed["tiny"][1:] == (tiny.count_params(), 32, 4, 0.5, 0.25)
    with pytest.raises(ValueError, match=r"Unknown preset: 'tyni'.*'tiny'"):
        CoDANet.from_preset("tyni")


def test_damaged_and_missing_weights_are_named(tiny):
    path = pretrained.FOLDER / "tiny.npz"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"damaged.*Install coda-keras anew"):
        make()
    path.unlink()
    with pytest.raises(ValueError, match="missing"):
        make()


@pytest.mark.parametrize("name", sorted(pretrained.cards()))
def test_what_ships_is_what_its_card_says(name):
    card = pretrained.cards()[name]
    net = CoDANet.from_preset(name)
    assert card.name == name
    assert net.count_params() == card.parameters
    assert net.class_names == list(card.class_names)
    assert card.details["storage"]["bytes"] == card.path.stat().st_size
    assert {"data", "recipe", "scores", "intended_use", "limits"} <= card.details.keys()


def test_what_ships_is_small():
    sizes = [card.path.stat().st_size for card in pretrained.cards().values()]
    assert 0 < sum(sizes) <= 16 * 2**20


@pytest.mark.process
@pytest.mark.tensorflow
@pytest.mark.skipif(not SHARED.is_dir(), reason="CIFAR-10 is not there")
@pytest.mark.parametrize("name", sorted(pretrained.cards()))
def test_shipped_weights_reach_their_scores(name):
    from coda_keras import training
    from coda_keras.data.tf_batches import load_tfds

    card, net = pretrained.cards()[name], CoDANet.from_preset(name)
    data = load_tfds("cifar10", SHARED).limit(test=500)
    scores = training.score(net, data, grids=4)
    # Four standard deviations of the mean of 500 images.
    spread = 4 * np.sqrt(card.test_accuracy * (1 - card.test_accuracy) / 500)
    assert scores["test_accuracy"] == pytest.approx(card.test_accuracy, abs=spread)
    assert scores["completeness_error"] < 1e-2
    # Four grids of the most confident images are easier than the many of the card.
    assert card.localisation - 0.1 < scores["localisation"] <= 1
