"""What the embedded server loads and forgets: broken versions, and folders that come and go."""

import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import keras
import numpy as np
import pytest
import tensorflow as tf

from coda_keras import CoDANet, DAUConv2D
from export import folder
from export.catalogue import Catalogue
from export.package import package
from export.servable import WARM_UP

pytestmark = pytest.mark.tensorflow

SIZE = 4
IMAGES = tf.make_tensor_proto(np.full((1, SIZE, SIZE, 3), 0.5, "float32"))


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    keras.utils.set_random_seed(1)
    net = CoDANet([DAUConv2D(3, 2, 3, strides=2)], temperature=1.0, image_size=SIZE)
    return package(net, tmp_path_factory.mktemp("servables"), "tiny")


@pytest.fixture
def root(path, tmp_path):
    """A folder with the models `one` and `two`, each in version 1."""
    for name in ("one", "two"):
        shutil.copytree(path, tmp_path / "servables" / name / "1")
    return tmp_path / "servables"


def answers(catalogue, name, version=None):
    number, servable = catalogue.find(name, version)
    assert servable.predict("classify", {"images": IMAGES})["logits"].shape == (1, 3)
    return number


def garbled(path):
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(b"\xff\xff\xff no message")


def of_another_model(path):
    """A request for a signature that the servable lacks."""
    from tensorflow_serving.apis import prediction_log_pb2

    log = prediction_log_pb2.PredictionLog()
    log.predict_log.request.model_spec.signature_name = "regress"
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(log.SerializeToString())


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(path.read_bytes()[:-20]),
        lambda path: path.write_bytes(b"corrupt" * 9),
        garbled,
        of_another_model,
    ],
    ids=["half-copied", "corrupt", "garbled", "of another model"],
)
def test_a_version_with_a_broken_warm_up_file_leaves_the_others_be(root, spoil, capsys):
    shutil.copytree(root / "one" / "1", root / "one" / "2")
    spoil(root / "one" / "2" / WARM_UP)
    catalogue = Catalogue(root)
    catalogue.refresh()
    states = catalogue.states("one")
    assert states[1] is None
    assert "warm-up" in states[2]
    assert "\n" not in states[2]
    assert answers(catalogue, "one") == answers(catalogue, "two") == 1
    # Once, however often it is looked at.
    catalogue.refresh()
    assert capsys.readouterr().err.count("not served") == 1
    shutil.copy(root / "one" / "1" / WARM_UP, root / "one" / "2" / WARM_UP)
    catalogue.refresh()
    assert answers(catalogue, "one") == 2


def test_whatever_loading_raises_is_a_reason(root, monkeypatch):
    def raising(path, **_):
        if path.parent.name == "one":
            raise RuntimeError("no such luck")
        return loading(path)

    from export import catalogue as module

    loading = module.Servable
    monkeypatch.setattr(module, "Servable", raising)
    catalogue = Catalogue(root)
    catalogue.refresh()
    assert "no such luck" in catalogue.states("one")[1]
    assert answers(catalogue, "two") == 1


def test_what_is_loaded_stays_while_the_folder_is_away(root):
    catalogue = Catalogue(root)
    catalogue.refresh()
    away = root.rename(root.with_name("away"))
    for _ in range(2):
        with pytest.raises(OSError, match="servables"):
            catalogue.refresh()
        assert answers(catalogue, "one") == answers(catalogue, "two") == 1
    # Nor is a stock server told that there are no models.
    with pytest.raises(OSError, match="servables"):
        folder.models_config(root, "/models")
    # A folder that is there and lacks a model no longer serves it.
    shutil.rmtree(away / "two")
    away.rename(root)
    catalogue.refresh()
    assert answers(catalogue, "one") == 1
    assert catalogue.states("two") == {}


def test_an_unreadable_model_folder_is_one_bad_folder(root, monkeypatch, capsys):
    catalogue = Catalogue(root)
    catalogue.refresh()
    looking = Path.iterdir

    def iterdir(path):
        if path == root / "one":
            raise PermissionError(13, "Permission denied", str(path))
        return looking(path)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    shutil.copytree(root / "two" / "1", root / "two" / "2")
    for _ in range(2):
        catalogue.refresh()
    assert answers(catalogue, "one") == 1
    assert answers(catalogue, "two") == 2
    # Said once, not at every look.
    assert capsys.readouterr().err.count("Permission denied") == 1
    assert list(folder.models(root)) == ["two"]
    monkeypatch.undo()
    shutil.rmtree(root / "one")
    catalogue.refresh()
    assert catalogue.states("one") == {}


def test_a_thousand_models_are_not_all_named(tmp_path):
    catalogue = Catalogue(tmp_path)
    catalogue._loaded = {(f"model-{number:03}", 1): None for number in range(1000)}
    with pytest.raises(tf.errors.NotFoundError, match=r"model-000 1, .* and 990 more") as error:
        catalogue.find("lion")
    assert len(error.value.message) < 300


def test_reasons_are_cut_short(root, monkeypatch):
    from export import catalogue as module

    def raising(path, **_):
        raise ValueError("why " * 10**5)

    monkeypatch.setattr(module, "Servable", raising)
    catalogue = Catalogue(root)
    catalogue.refresh()
    assert len(catalogue.states("one")[1]) < 1100
