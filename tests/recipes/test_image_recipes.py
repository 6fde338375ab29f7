"""Recipes on images in files: each starts, trains two steps and leaves its results."""

import functools
import json
import shutil
import sys

import keras
import numpy as np
import pytest
from coda_keras_recipes import experiments, image_folder, imagenet
from coda_keras_recipes import tiny_imagenet as tiny_imagenet_recipe
from PIL import Image

from coda_keras import PRESETS, training
from coda_keras.data import tiny_imagenet
from coda_keras.data.image_folder import ImageFolder
from coda_keras.models.resnet import resnet56

NARROW = {"filters": (2, 2, 10), "ranks": (1, 1, 1), "kernel_sizes": (3, 3, 1)}


@pytest.fixture(autouse=True)
def narrow(monkeypatch):
    """Networks of three narrow layers."""
    for name in ("s_coda", "xl_coda", "l_coda"):
        preset = PRESETS[name]._replace(**NARROW, strides=(2, 1, 1))
        monkeypatch.setitem(PRESETS, name, preset)


def run(recipe, monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", [f"{recipe.__name__}.py", *map(str, arguments)])
    recipe.main()


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


def test_a_folder_of_photographs_is_the_same_in_memory_and_in_files(
    photographs, tmp_path, monkeypatch, capsys
):
    packaged, results = [], {}

    def package(net, folder, name, labels):
        packaged.append((folder, name, labels))
        return folder

    monkeypatch.setattr("coda_keras_export.package.package", package)
    flags = ["--data", photographs, "--preset", "s_coda", "--image-size", 16]
    flags += ["--epochs", 1, "--batch-size", 3]
    load = ImageFolder.load
    for where, memory in (("memory", 2**20), ("files", 0)):
        output = tmp_path / where
        monkeypatch.setattr(ImageFolder, "load", functools.partialmethod(load, memory=memory))
        run(image_folder, monkeypatch, *flags, "--output", output)
        assert packaged.pop() == (output / "servables", "image_folder", ["bright", "dark"])
        metrics = json.loads((output / "metrics.json").read_text())
        assert metrics["test_images"] == 2 and metrics["completeness_error"] < 1e-4
        net = keras.models.load_model(output / "model.keras")
        assert net.image_size == (16, 16) and net.class_names == ["bright", "dark"]
        assert int(net.optimizer.iterations) == 2
        examples = {path.name for path in (output / "examples").iterdir()}
        assert examples == {"bright-0.png", "dark-1.png"}
        assert (output / "gallery.png").exists() and (output / "explorer.html").exists()
        assert "20% are set aside" in capsys.readouterr().out
        results[where] = net.get_weights()
    for ours, theirs in zip(results["files"], results["memory"]):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "--data FOLDER is needed"),
        (["--data", "{folder}/none"], "There is no folder"),
        (["--data", "{folder}/dark"], "images that lie in no folder"),
        (["--data", "{folder}", "--rank-scale", "0.5"], "were trained with rank_scale=0.125"),
        (["--data", "{folder}", "--test-fraction", "2"], "between 0 and 1"),
    ],
)
def test_mistakes_about_a_folder_are_one_line(
    arguments, said, photographs, tmp_path, monkeypatch, capsys
):
    given = [text.format(folder=photographs) for text in arguments]
    given += ["--batch-size", 2, "--image-size", 8, "--output", tmp_path / "run"]
    with pytest.raises(SystemExit) as end:
        run(image_folder, monkeypatch, *given)
    assert end.value.code == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "image/s" not in line]
    assert said in line and not list(tmp_path.iterdir())


def test_broken_photographs_are_named(photographs, tmp_path, monkeypatch, capsys):
    root = shutil.copytree(photographs, tmp_path / "copy")
    (root / "dark/half.jpg").write_bytes((root / "dark/0.jpg").read_bytes()[:300])
    with pytest.raises(SystemExit):
        run(image_folder, monkeypatch, "--data", root, "--output", tmp_path / "run")
    assert "dark/half.jpg is no image this program can read" in capsys.readouterr().err


def of(recipe):
    return [name for name, row in experiments.EXPERIMENTS.items() if row.recipe == recipe]


def trained(concluded, name):
    """What training by an experiment's name has led to, checked against its row."""
    ((settings, net, data, history, _),) = concluded
    assert settings.experiment == name and int(net.optimizer.iterations) == 2
    assert len(history) == 1 and np.isfinite(history[0]["loss"])
    row = experiments.EXPERIMENTS[name].settings
    if "temperature" in row:
        assert net.temperature == row["temperature"]
    return net, data


@pytest.mark.parametrize("name", of("tiny_imagenet"))
def test_experiments_on_tiny_imagenet(name, archive, concluded, tmp_path, monkeypatch):
    flags = ["--experiment", name, "--epochs", 1, "--batch-size", 6, "--output", tmp_path / "run"]
    run(tiny_imagenet_recipe, monkeypatch, *flags, "--data", tmp_path, "--archive", archive)
    net, data = trained(concluded, name)
    assert net.image_size == (64, 64) and net.classes == 3
    assert data.note.startswith("with 12 of its 100,000 training images")


@pytest.fixture
def small(monkeypatch):
    """ImageNet's classes and sizes made small."""
    for key, value in {"CLASSES": 2, "RESIZED": 18, "CROPPED": 16}.items():
        monkeypatch.setattr(imagenet, key, value)


@pytest.mark.parametrize("name", of("imagenet"))
def test_experiments_on_imagenet(name, small, divided, concluded, tmp_path, monkeypatch):
    # The whole ResNet-50 takes a minute.
    monkeypatch.setattr("coda_keras.models.resnet.resnet50", functools.partial(resnet56, depth=8))
    flags = ["--experiment", name, "--epochs", 1, "--batch-size", 4, "--output", tmp_path / "run"]
    run(imagenet, monkeypatch, *flags, "--data", divided)
    net, data = trained(concluded, name)
    assert data.class_names == ["n01", "n02"] and net.compute_output_shape((1, 16, 16, 3)) == (1, 2)
    assert data.train_images.shape == (8, 18, 18, 3) and data.test_images.shape == (4, 16, 16, 3)
    # The third step is one of 15 epochs of warm-up.
    rate = float(net.optimizer._learning_rate(2))
    assert rate == pytest.approx(2.5e-4 + 2 / 30 * 7.5e-4)


def test_imagenet_from_tensorflow_datasets(small, archive, tmp_path, monkeypatch):
    """Any data set with labelled images and these splits stands for it."""
    tiny_imagenet.load(tmp_path, archive, progress=False)
    asked = []

    def builder(name, data_dir):
        asked.append((name, data_dir))
        return tiny_imagenet.TinyImagenet(data_dir=data_dir)

    monkeypatch.setattr("tensorflow_datasets.builder", builder)
    data = imagenet.load(training.Settings(data=tmp_path))
    assert asked == [("imagenet2012", str(tmp_path))]
    assert data.train_images.shape == (8, 18, 18, 3) and data.test_images.shape == (4, 16, 16, 3)


def test_the_imagenet_recipe_refuses_what_a_resnet_has_not(capsys):
    with pytest.raises(SystemExit) as end:
        imagenet.parse(["--model", "resnet50", "--temperature", "5"])
    assert end.value.code == 2
    assert "unrecognized arguments: --temperature" in capsys.readouterr().err
