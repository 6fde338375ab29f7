"""Recipes that take a trained net: explain images with it, score it, release it."""

import importlib
import json
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image
from processes import run_forked

from coda_keras import CoDANet, DAUConv2D, examples, training, with_views
from coda_keras.data.images import FloatImages, ImageData
from coda_keras.models import pretrained as trained

ROOT = Path(__file__).resolve().parents[2]
PRESET = "s_coda_cifar10"


def recipe(name):
    return importlib.import_module(f"coda_keras_recipes.{name}")


def run(name, monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", [f"{name}.py", *map(str, arguments)])
    module = recipe(name)
    module.main()


def test_explaining_an_image_needs_no_training(tmp_path):
    """As a user runs it, from any folder."""
    image = tmp_path / "photo.jpg"
    with Image.open(examples.paths()[-2]) as ship:
        ship.resize((90, 60)).save(image, quality=95)
    flags = ["--model", PRESET, "--resize", "photo.jpg"]
    done = run_forked(ROOT / "recipes/explain.py", *flags, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "ship" in done.stdout
    (picture,) = tmp_path.rglob("photo.png")
    with Image.open(picture) as opened:
        assert opened.width > 300


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--model", "s_coda_cifar", "a.png"], "no image file a.png"),
        (["--model", PRESET, "--classes", "cow", "{image}"], "no class 'cow'"),
        (["--model", "s_coda_cifar", "{image}"], PRESET),
    ],
)
def test_mistakes_in_explaining_are_one_line(arguments, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    given = [text.format(image=examples.paths()[0]) for text in arguments]
    with pytest.raises(SystemExit) as end:
        run("explain", monkeypatch, *given)
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert list(tmp_path.iterdir()) == []


def test_explaining_goes_on_after_images_that_are_none(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    photographs = tmp_path / "photographs"
    photographs.mkdir()
    for path in examples.paths()[:2]:
        (photographs / path.name).write_bytes(path.read_bytes())
    (photographs / "broken.png").write_text("no picture")
    with Image.open(examples.paths()[2]) as bird:
        bird.resize((90, 60)).save(photographs / "large.png")
    given = ["--classes", "cat,3,dog", "--model", PRESET, "gone.png", photographs]
    with pytest.raises(SystemExit) as end:
        run("explain", monkeypatch, *given)
    out, err = capsys.readouterr()
    assert end.value.code == 1
    gone, broken, large = err.splitlines()
    assert gone == "explain.py: error: There is no image file gone.png."
    assert "broken.png is no image" in broken and "large.png has 90x60 pixels" in large
    names = [path.name for path in examples.paths()[:2]]
    assert [Path(line.partition(": ")[0]).name for line in out.splitlines()] == names
    assert all("why cat, cat, dog: " in line for line in out.splitlines())
    assert sorted(path.name for path in (tmp_path / "explained").iterdir()) == names


def test_the_most_accurate_net_explains_where_none_is_named():
    cards = trained.cards().values()
    assert trained.most_accurate().test_accuracy == max(card.test_accuracy for card in cards)


@pytest.fixture
def data():
    images = np.round(examples.load() * 255).astype("uint8")
    names = list(trained.cards()[PRESET].class_names)
    return ImageData(images, np.arange(10), images, np.arange(10), names, "ten images only")


def test_a_net_is_scored(data, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("coda_keras_recipes.cifar10.load", lambda _: data)
    predict, seen = training.predict, []
    monkeypatch.setattr(
        training, "predict", lambda net, images: seen.append(images) or predict(net, images)
    )
    gallery = tmp_path / "gallery.png"
    run("evaluate", monkeypatch, "--model", PRESET, "--grids", 0, "--gallery", gallery)
    images = examples.load()
    logits = CoDANet.from_preset(PRESET).predict(images, verbose=0)
    accuracy = np.mean(logits.argmax(axis=1) == np.arange(10))
    out = capsys.readouterr().out
    assert f"{accuracy:.4f} on 10 images" in out and "ten images only" in out
    assert gallery.is_file()
    # Not all images at once.
    assert [type(images) for images in seen] == [FloatImages]


@pytest.mark.parametrize("flag", ["--grids", "--occlusion-grids"])
@pytest.mark.parametrize(
    ("name", "needed"), [("evaluate", ["--model", "a"]), ("release", ["--run", "a", "--name", "b"])]
)
def test_counts_of_grids_are_not_negative(name, needed, flag, capsys):
    with pytest.raises(SystemExit):
        recipe(name).parse([*needed, flag, "-1"], name)
    assert f"argument {flag}: expected a whole number from 0" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flag", "path", "said"),
    [
        ("--gallery", "x.gif", "Expected a file name ending in one of ('pdf', 'png', 'svg')"),
        ("--gallery", "", "is a folder. Expected the name of a file"),
        ("--output", "", "is a folder. Expected the name of a file"),
    ],
)
def test_names_that_cannot_be_written_are_refused_first(
    flag, path, said, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(recipe("evaluate"), "evaluate", lambda _: pytest.fail("began"))
    with pytest.raises(SystemExit) as end:
        run("evaluate", monkeypatch, "--model", PRESET, flag, tmp_path / path)
    assert end.value.code == 2 and said in capsys.readouterr().err


@pytest.mark.parametrize("views", [[], ["--views", "flip"]])
def test_a_net_for_images_of_any_size_is_scored(views, quarters, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("coda_keras_recipes.cifar10.load", lambda _: quarters)
    net = CoDANet([DAUConv2D(4, 2, 3)], temperature=1)
    net(quarters.test_images[:1] / 255)
    net.save(tmp_path / "model.keras")
    run("evaluate", monkeypatch, "--model", tmp_path / "model.keras", "--grids", 0, *views)
    assert "on 64 images" in capsys.readouterr().out


@pytest.mark.parametrize("views", ["flip", "shifts"])
def test_a_net_is_scored_by_views_of_the_images(views, data, tmp_path, monkeypatch):
    monkeypatch.setattr("coda_keras_recipes.cifar10.load", lambda _: data)
    output = tmp_path / "scores.json"
    flags = ["--model", PRESET, "--grids", 0, "--views", views, "--output", output]
    run("evaluate", monkeypatch, *flags)
    net = with_views(CoDANet.from_preset(PRESET), views)
    logits = net.predict(examples.load(), verbose=0)
    scores = json.loads(output.read_text())
    assert scores["test_accuracy"] == np.mean(logits.argmax(axis=1) == np.arange(10))
    assert scores["views"] == views and scores["completeness_error"] < 1e-3


def test_occlusion_stands_beside_own_contributions_on_the_same_grids(
    quarters, nets, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr("coda_keras_recipes.cifar10.load", lambda _: quarters)

    def scores(*flags):
        output = tmp_path / "scores.json"
        flags = ["--model", nets["t4"], "--grid-size", 2, *flags, "--output", output]
        run("evaluate", monkeypatch, *flags)
        return json.loads(output.read_text())

    first = scores("--grids", 1)
    both = scores("--grids", 16, "--occlusion-grids", 1)
    assert "occlusion_localisation" not in first
    assert both["grids"] == 16 and both["occlusion_grids"] == 1
    # Their code needs more classes than a grid has cells, and there are four.
    assert both["published_rule_grids"] == 0
    assert both["localisation_beside_occlusion"] == pytest.approx(first["localisation"], rel=1e-5)
    assert both["localisation_beside_occlusion"] != pytest.approx(both["localisation"], rel=1e-3)
    assert 0.25 < both["occlusion_localisation"] <= 1
    said = f"{both['localisation_beside_occlusion']:.4f} on the first 1; occlusion "
    assert said + f"{both['occlusion_localisation']:.4f}" in capsys.readouterr().out
    single = scores("--grids", 3, "--grid-size", 1)
    assert single["published_rule_grids"] == 3 and single["published_rule_localisation"] == 1
    assert "1.0000 on 3 grids by the authors' rule" in capsys.readouterr().out
    assert "localisation_without_threshold" not in single
    all_correct = scores("--grids", 2, "--all-correct")
    said = f"{all_correct['localisation_without_threshold']:.4f} on 2 grids without the threshold"
    assert said in capsys.readouterr().out


def test_a_run_is_released(data, tmp_path, monkeypatch):
    monkeypatch.setattr("coda_keras.data.tf_batches.load_tfds", lambda *_: data)
    monkeypatch.setattr(trained, "FOLDER", tmp_path / "weights")
    keras.utils.set_random_seed(0)
    net = CoDANet.from_preset("s_coda", rank_scale=0.02, temperature=7.0)
    folder = tmp_path / "run"
    folder.mkdir()
    net.save(folder / "model.keras")
    arguments = {"preset": "s_coda", "rank_scale": 0.02, "rescale": "squash", "temperature": 7.0}
    scores = {"test_accuracy": 0.9, "six_view_accuracy": 0.91, "test_images": 10}
    times = {"training_seconds": 60, "seconds_of_logits": 5}
    asked = {"command": "python recipes/teacher.py --hold-out 9", "arguments": {"hold_out": 9}}
    (tmp_path / "teacher.json").write_text(json.dumps({**scores, **times, **asked, "shifts": 1}))
    common = {"hardware": {}, "versions": {}}
    before = {
        "arguments": {**arguments, "teacher": str(tmp_path / "teacher.npz"), "initial": PRESET},
        "command": "python recipes/cifar10.py --data /a/b --epochs 2 --output=c/before",
        "training_seconds": 4,
        "history": [{"val_accuracy": 0.125}, {"val_accuracy": 0.5}],
    }
    metrics = {
        "arguments": {**arguments, "initial": str(tmp_path / "before/model.keras"), "hold_out": 1},
        "command": "python recipes/cifar10.py --data '/a b/c' --initial c/before/m '--output=c d'",
        "training_seconds": 1.5,
        "history": [{"val_accuracy": 0.25}],
    }
    (tmp_path / "before").mkdir()
    (tmp_path / "before/metrics.json").write_text(json.dumps(before | common))
    (folder / "metrics.json").write_text(json.dumps(metrics | common))
    selection = "By other images."
    flags = ["--name", "tiny_ten", "--grids", 0, "--selection", selection]
    run("release", monkeypatch, "--run", folder, *flags)
    trained.cards.cache_clear()
    try:
        card = trained.cards()["tiny_ten"]
        again = CoDANet.from_preset("tiny_ten")
    finally:
        monkeypatch.undo()
        trained.cards.cache_clear()
    assert (card.temperature, card.localisation, card.parameters) == (7.0, None, net.count_params())
    first, last = card.details["recipe"].split(" && ")
    assert first == "python recipes/cifar10.py --epochs 2 --output=c/before"
    assert last == "python recipes/cifar10.py --initial c/before/m"
    took = card.details["training"]
    assert (took["epochs"], took["images_seen"], took["seconds"]) == (3, 29, 5.5)
    assert took["test_accuracy_by_epoch"] == [0.125, 0.5, 0.25]
    assert card.details["selection"] == selection
    expected = {"recipe": asked["command"], "accuracy": 0.9, "images": 10, "held_out": True}
    expected |= {"six_view_accuracy": 0.91, **times}
    assert card.details["teacher"] == expected
    assert card.details["storage"]["largest_logit_change"] < 0.05
    for weight, expected in zip(again.get_weights(), net.get_weights()):
        np.testing.assert_allclose(weight, expected, atol=1e-3)


def test_a_run_without_its_settings_is_not_released(tmp_path, monkeypatch, capsys):
    (tmp_path / "metrics.json").write_text('{"test_accuracy": 0.5}')
    with pytest.raises(SystemExit) as end:
        run("release", monkeypatch, "--run", tmp_path, "--name", "a")
    said = f"{tmp_path / 'metrics.json'}: expected a JSON object with arguments"
    assert end.value.code == 2 and said in capsys.readouterr().err


def test_other_machines_get_absolute_paths_and_names_of_presets(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("teacher.npz").touch()
    settings = training.Settings(teacher="teacher.npz", initial=PRESET, output="runs/a")
    moved = recipe("training_run").for_other_machines(settings)
    assert moved.teacher == str(tmp_path / "teacher.npz")
    assert moved.output == tmp_path / "runs/a"
    assert moved.initial == PRESET and moved.data is None
