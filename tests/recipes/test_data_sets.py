"""Nets are looked at on whatever data a recipe trained them on."""

import argparse
import json
import sys

import keras
import numpy as np
import pytest
from coda_keras_recipes import data_sets, evaluate, imagenet, interpret, training_run
from PIL import Image

from coda_keras import CoDANet, DAUConv2D, training
from coda_keras.data import tf_records, tiny_imagenet
from coda_keras.data.images import save_npz
from coda_keras.study import Settings, Study

SIZE = 8


@pytest.fixture(scope="module")
def folder(quarters, tmp_path_factory):
    """The quarters as a folder of images for every class."""
    root = tmp_path_factory.mktemp("data") / "quarters"
    for number, (image, label) in enumerate(zip(quarters.train_images, quarters.train_labels)):
        (root / str(label)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(root / str(label) / f"{number:02d}.png")
    return root


@pytest.fixture(scope="module")
def npz(quarters, tmp_path_factory):
    path = tmp_path_factory.mktemp("arrays") / "quarters.npz"
    save_npz(quarters, path)
    return path


@pytest.fixture(scope="module")
def prepared(official, tmp_path_factory):
    """Tiny ImageNet of three classes, as TensorFlow Datasets prepares it."""
    place = tmp_path_factory.mktemp("prepared")
    tiny_imagenet.load(place, official, progress=False)
    return place


def loaded(*flags, model="model.keras", size=(SIZE, SIZE)):
    parser = argparse.ArgumentParser()
    data_sets.add_flags(parser)
    return data_sets.load(parser.parse_args([*map(str, flags)]), model, lambda: size)


def test_a_folder_of_classes_is_known_by_its_images(folder):
    name, data = loaded("--data", folder)
    assert name == "quarters"
    assert data.class_names == ["0", "1", "2", "3"]
    # A fifth of 16 images of each class.
    assert data.test_images.shape == (12, SIZE, SIZE, 3)


def test_images_that_its_run_trained_on_are_not_tested_on(folder, tmp_path):
    (tmp_path / "arguments.json").write_text(json.dumps({"test_fraction": 0.5}))
    # Scores that `evaluate --output` may have written over those of the run.
    (tmp_path / "metrics.json").write_text(json.dumps({"test_accuracy": 1.0}))
    _, data = loaded("--data", folder, model=tmp_path / "model.keras")
    assert len(data.test_labels) == 32
    _, data = loaded("--data", folder, "--test-fraction", 0.25, model=tmp_path / "model.keras")
    assert len(data.test_labels) == 16


def test_an_npz_file(npz, quarters):
    name, data = loaded("--data", npz)
    assert name == "quarters" and data.class_names == quarters.class_names
    assert loaded("--data", npz, "--dataset", "mine")[0] == "mine"


def test_tiny_imagenet_and_any_other_prepared_images(prepared):
    name, data = loaded("--dataset", "tiny_imagenet", "--data", prepared)
    assert name == "tiny_imagenet"
    assert data.test_images.shape == (6, 64, 64, 3)
    data = tf_records.load("tiny_imagenet", prepared, SIZE)
    assert data.train_images.shape == (12, SIZE, SIZE, 3)
    assert data.test_images.shape == (6, SIZE, SIZE, 3)
    with pytest.raises(ValueError, match="have many sizes, and the model takes any"):
        tf_records.load("tiny_imagenet", prepared)


def test_imagenet_has_the_sizes_of_its_recipe(folder, monkeypatch, tmp_path):
    for key, value in {"CLASSES": 2, "RESIZED": 10, "CROPPED": SIZE}.items():
        monkeypatch.setattr(imagenet, key, value)
    (tmp_path / "train").symlink_to(folder)
    (tmp_path / "val").symlink_to(folder)
    name, data = loaded("--dataset", "imagenet", "--data", tmp_path)
    assert name == "imagenet" and data.test_images.shape == (32, SIZE, SIZE, 3)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--dataset", "cifar1O"], "There is no data set cifar1O. Did you mean cifar10"),
        (["--dataset", "image_foldr"], "Did you mean image_folder? Expected one of cifar10,"),
        (["--dataset", "image_folder"], "--dataset image_folder needs --data"),
        (["--data", "nowhere.npz"], "nowhere.npz"),
        (["--data", "{folder}"], "quarters.keras has 7 classes, the data has 4"),
    ],
)
@pytest.mark.parametrize("command", [evaluate, interpret])
def test_mistakes_are_one_line(command, flags, said, folder, tmp_path, monkeypatch, capsys):
    model = tmp_path / "quarters.keras"
    CoDANet([DAUConv2D(7, 2, 3)], temperature=1, image_size=SIZE).save(model)
    given = [flag.format(folder=folder) for flag in flags]
    line = ["--model", model, *given, "--output", tmp_path / "out"]
    monkeypatch.setattr(sys, "argv", ["command.py", *map(str, line)])
    with pytest.raises(SystemExit) as end:
        command.main()
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert not (tmp_path / "out").exists()


def test_a_net_is_scored_on_a_folder(folder, nets, tmp_path, monkeypatch, capsys):
    line = ["--model", nets["t4"], "--data", folder, "--grids", 0, "--output", tmp_path / "s.json"]
    monkeypatch.setattr(sys, "argv", ["evaluate.py", *map(str, line)])
    evaluate.main()
    assert "on 12 images of quarters" in capsys.readouterr().out
    scores = json.loads((tmp_path / "s.json").read_text())
    assert scores["data"] == "quarters" and scores["test_accuracy"] > 0.9


def test_a_study_says_which_data_it_saw(folder, nets, tmp_path, monkeypatch, capsys):
    line = ["--model", nets["t4"], "--data", folder, "--output", tmp_path, "--metrics", "none"]
    line += ["--methods", "contributions", "--figures", "explorer"]
    monkeypatch.setattr(sys, "argv", ["interpret.py", *map(str, line)])
    interpret.main()
    assert "on 12 images of quarters" in capsys.readouterr().out
    stored = json.loads((tmp_path / "results.json").read_text())["data"]
    assert stored["name"] == "quarters" and stored["image_size"] == [SIZE, SIZE]
    assert stored["classes"] == ["0", "1", "2", "3"] and len(stored["digest"]) == 12
    sentence = "Data: 12 test images of quarters, 8x8 pixels, 4 classes (0, 1, 2, 3), digest "
    assert sentence + stored["digest"] in (tmp_path / "results.md").read_text()
    assert "<title>Methods on quarters</title>" in (tmp_path / "explorer.html").read_text()


def test_other_images_have_another_digest(quarters, nets, tmp_path):
    def data(study_of):
        return Study([nets["t4"]], study_of, Settings(["contributions"]), tmp_path).results()[
            "data"
        ]

    whole, part = data(quarters), data(quarters.limit(test=60))
    assert whole["name"] == "" and whole["digest"] != part["digest"]


def test_a_fine_tuned_net_has_a_name_of_its_own(quarters, tmp_path):
    settings = training.Settings(preset="s_coda_quarter_cifar10", output=tmp_path / "my-cats")
    net = training_run.coda_net(settings, quarters)
    assert net.name == "my-cats"
    net.save(tmp_path / "model.keras")
    assert keras.models.load_model(tmp_path / "model.keras").name == "my-cats"
    assert CoDANet.from_preset("s_coda_quarter_cifar10", classes=4).name == "s_coda"
    assert CoDANet.from_preset("s_coda_quarter_cifar10").name == "s_coda_quarter_cifar10"
    weights = CoDANet.from_preset("s_coda_quarter_cifar10").get_weights()
    np.testing.assert_array_equal(net.get_weights()[0], weights[0])
