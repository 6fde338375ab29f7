"""Recipes on images in files: each starts, trains two steps and leaves its results."""

import argparse
import functools
import importlib.util
import json
import shutil
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.tensorflow
pytest.importorskip("tensorflow")

from coda_keras.image_folder import ImageFolder
from coda_keras.tf import tiny_imagenet

ROOT = Path(__file__).resolve().parents[1]


def recipe(name):
    spec = importlib.util.spec_from_file_location(f"recipe_{name}", ROOT / f"recipes/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(name, monkeypatch, *arguments, **values):
    """Runs a recipe with some of its constants replaced; returns the folders it packaged into."""
    module, packaged = recipe(name), []
    monkeypatch.setattr(sys, "argv", [f"{name}.py", *map(str, arguments)])
    for key, value in values.items():
        monkeypatch.setattr(module, key, value)

    def package(net, folder, of, labels):
        packaged.append(folder / of)
        return folder

    monkeypatch.setattr(module, "package", package)
    module.main()
    return packaged


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """Two classes of three photographs each to train on and one to test on, as they come."""
    root = tmp_path_factory.mktemp("photographs")
    random = np.random.default_rng(5)
    kinds = [("jpg", (20, 30, 3)), ("png", (24, 24)), ("png", (9, 40, 4)), ("webp", (18, 16, 3))]
    for name, value in (("dark", 20), ("bright", 200)):
        (root / name).mkdir()
        for number, (suffix, shape) in enumerate(kinds):
            values = random.integers(value, value + 40, shape).astype("uint8")
            Image.fromarray(values).save(root / name / f"{number}.{suffix}")
    return root


@pytest.fixture(scope="module")
def divided(tmp_path_factory):
    """Three classes, divided: four images each to train on, two to test on."""
    root = tmp_path_factory.mktemp("divided")
    for split, count in (("train", 4), ("val", 2)):
        for label, name in enumerate(("n01", "n02", "n03")):
            (root / split / name).mkdir(parents=True)
            for number in range(count):
                image = Image.new("RGB", (24, 20), (90 * label, 9 * number, 0))
                image.save(root / split / name / f"{number}.JPEG")
    return root


NET = ["--rank-scale", "0.02"]
STEPS = ["--epochs", "1"]


def results(output):
    metrics = json.loads((output / "metrics.json").read_text())
    model = keras.models.load_model(output / "model.keras")
    assert (output / "gallery.png").exists() and any((output / "examples").iterdir())
    return metrics, model


def test_a_folder_of_photographs_is_the_same_in_memory_and_in_files(
    photographs, tmp_path, monkeypatch, capsys
):
    flags = ["--data", photographs, "--preset", "s_coda", *NET, *STEPS, "--batch-size", 3]
    flags += ["--image-size", 16]
    packaged = run("image_folder", monkeypatch, *flags, "--output", tmp_path / "memory")
    metrics, net = results(tmp_path / "memory")
    assert metrics["test_images"] == 2 and metrics["completeness_error"] < 1e-4
    assert packaged == [tmp_path / "memory/servables/image_folder"]
    assert net.image_size == (16, 16) and net.class_names == ["bright", "dark"]
    examples = {path.name for path in (tmp_path / "memory/examples").iterdir()}
    assert examples == {"bright-0.png", "dark-1.png"}
    assert "20% are set aside" in capsys.readouterr().out

    streamed = functools.partialmethod(ImageFolder.load, memory=0)
    monkeypatch.setattr(ImageFolder, "load", streamed)
    run("image_folder", monkeypatch, *flags, "--output", tmp_path / "files")
    again, same = results(tmp_path / "files")
    assert again["history"][0]["loss"] == pytest.approx(metrics["history"][0]["loss"], rel=1e-4)
    for ours, theirs in zip(same.get_weights(), net.get_weights()):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "--data FOLDER is needed"),
        (["--data", "{folder}/none"], "There is no folder"),
        (["--data", "{folder}/dark"], "images that lie in no folder"),
        (["--data", "{folder}", "--rank-scale", "0.5"], "were trained with rank_scale=0.125"),
    ],
)
def test_mistakes_about_a_folder_are_one_line(
    arguments, said, photographs, tmp_path, monkeypatch, capsys
):
    given = [text.format(folder=photographs) for text in arguments]
    with pytest.raises(SystemExit) as end:
        run("image_folder", monkeypatch, *given, "--batch-size", 2, "--output", tmp_path / "run")
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line and not list(tmp_path.iterdir())


def test_broken_photographs_are_named(photographs, tmp_path, monkeypatch, capsys):
    root = shutil.copytree(photographs, tmp_path / "copy")
    (root / "dark/half.jpg").write_bytes((root / "dark/0.jpg").read_bytes()[:300])
    with pytest.raises(SystemExit):
        run("image_folder", monkeypatch, "--data", root, "--output", tmp_path / "run")
    error = capsys.readouterr().err
    assert "dark/half.jpg is no image this program can read" in error


def test_tiny_imagenet(archive, tmp_path, monkeypatch):
    flags = ["--data", tmp_path / "tfds", "--archive", archive, *NET, *STEPS, "--batch-size", 6]
    packaged = run("tiny_imagenet", monkeypatch, *flags, "--output", tmp_path / "run")
    metrics, net = results(tmp_path / "run")
    assert metrics["note"].startswith("with 12 of its 100,000 training images")
    assert net.temperature == 64 and net.image_size == (64, 64) and net.classes == 3
    assert len(packaged) == 1 and metrics["completeness_error"] < 1e-4


SMALL = {"CLASSES": 2, "RESIZED": 18, "CROPPED": 16}


@pytest.mark.parametrize("model", ["coda", "resnet50"])
def test_imagenet_from_folders(model, divided, tmp_path, monkeypatch):
    flags = ["--data", divided, *STEPS, "--batch-size", 4, "--output", tmp_path / "run"]
    flags += NET if model == "coda" else ["--model", model]
    packaged = run("imagenet", monkeypatch, *flags, **SMALL)
    metrics, net = results(tmp_path / "run")
    assert metrics["test_images"] == 4 and net.output_shape[-1] == 2
    assert metrics["arguments"]["warmup_epochs"] == 15
    assert len(packaged) == (model == "coda")
    assert ("temperature" in metrics["arguments"]) == (model == "coda")


def test_imagenet_from_tensorflow_datasets(archive, tmp_path, monkeypatch):
    """Any data set with labelled images and these splits stands for it."""
    tiny_imagenet.load(tmp_path, archive, progress=False)
    asked = []

    def builder(name, data_dir):
        asked.append((name, data_dir))
        return tiny_imagenet.TinyImagenet(data_dir=data_dir)

    monkeypatch.setattr("tensorflow_datasets.builder", builder)
    module = recipe("imagenet")
    for name, value in SMALL.items():
        monkeypatch.setattr(module, name, value)
    data = module.load(argparse.Namespace(data=tmp_path, cache=None))
    assert asked == [("imagenet2012", tmp_path)]
    assert data.train_images.shape == (8, 18, 18, 3) and data.test_images.shape == (4, 16, 16, 3)


def test_the_imagenet_recipe_refuses_what_a_resnet_has_not(monkeypatch, capsys):
    flags = ["--model", "resnet50", "--temperature", "5"]
    with pytest.raises(SystemExit) as end:
        run("imagenet", monkeypatch, *flags)
    assert end.value.code == 2
    assert "unrecognized arguments: --temperature" in capsys.readouterr().err
