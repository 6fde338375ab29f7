"""The command that computes the paper's metrics and figures, as a user meets it."""

import importlib
import json
import sys

import keras
import numpy as np
import pytest

from coda_keras import CoDANet, DAUConv2D, attribution, evaluation
from coda_keras.evaluation import grid_localisation
from coda_keras.study import FIGURES

pytestmark = pytest.mark.tensorflow
SIZE = 8
METHODS = "contributions,input_x_gradient,occlusion_3,rise"
TINY = ["--dataset", "digits", "--grid-size", "2", "--grids", "6", "--images", "5"]
TINY += ["--few-grids", "1", "--few-images", "2", "--rise-masks", "4"]
TINY += ["--sanity-images", "2", "--points", "4", "--batch-size", "8"]


@pytest.fixture(scope="module")
def recipe():
    """The command's module."""
    return importlib.import_module("coda_keras_recipes.interpret")


@pytest.fixture
def command(recipe, quarters, monkeypatch, capsys):
    """Runs the command in this process; returns exit code, stdout and stderr."""

    def run(*flags, tiny=True):
        monkeypatch.setattr("coda_keras_recipes.digits.load_digits", lambda: quarters)
        flags = [*(TINY if tiny else []), *map(str, flags)]
        monkeypatch.setattr(sys, "argv", ["interpret.py", *flags])
        code = 0
        try:
            recipe.main()
        except SystemExit as end:
            code = end.code
        return (code, *capsys.readouterr())

    return run


def results(folder):
    return json.loads((folder / "results.json").read_text())


def test_everything_at_once(command, nets, quarters, tmp_path):
    flags = [
        "--model",
        nets["t4"],
        "--model",
        nets["t2"],
        "--baseline",
        nets["baseline"],
    ]
    flags += ["--methods", METHODS, "--metrics", "all", "--output", tmp_path / "out"]
    code, out, err = command(*flags, "--logdir", tmp_path / "board")
    assert code == 0, err
    stored = results(tmp_path / "out")
    assert stored["figures_skipped"] == {}
    for name in stored["figures"]:
        assert (tmp_path / "out" / name).stat().st_size > 500
    assert len(stored["figures"]) == 2 * len(FIGURES) + 2
    assert not list((tmp_path / "out").rglob(".*"))

    main, other, baseline = stored["models"]
    assert list(other["methods"]) == ["contributions"]
    assert "contributions" not in baseline["methods"]
    assert main["temperature"] == 4 and baseline["temperature"] is None
    rise = main["methods"]["rise"]
    assert (rise["localisation"]["images"], rise["pixel_removal"]["least"]["images"]) == (1, 2)
    for numbers in main["methods"].values():
        assert numbers.keys() >= {*evaluation.METRICS, "cost", "label"}
        assert numbers["cost"]["forward_passes"] > 0
        assert len(numbers["sanity"]["rank_correlation"]["signed"]) == 2
    table = (tmp_path / "out/results.md").read_text()
    assert f"| Ours | {main['methods']['contributions']['localisation']['mean']:.3f} |" in table
    assert "figure 6: " in out

    (events,) = (tmp_path / "board").glob("events*")
    written = events.read_bytes()
    for tag in (b"figure_6", b"figure_a3", b"video", b"results", b"methods/t4/rise"):
        assert tag in written


def test_numbers_are_those_of_the_library(command, nets, quarters, tmp_path):
    from coda_keras.evaluation import localisation, make_grids, pixel_removal

    flags = ["--methods", "contributions,input_x_gradient,deeplift"]
    flags += ["--metrics", "localisation,pixel_removal"]
    flags += ["--figures", "none", "--model", nets["t4"], "--output", tmp_path]
    code, _, err = command(*flags)
    assert code == 0, err
    model = results(tmp_path)["models"][0]
    net = keras.models.load_model(nets["t4"])
    images = quarters.test_images.astype("float32") / 255
    logits = net.predict(images, verbose=0)
    ours = attribution.get("contributions")
    grids = make_grids(images, logits, quarters.test_labels, grids=6, n=2)
    expected = localisation(net, grids, ours, progress=False).summary()
    numbers = model["methods"]["contributions"]
    assert numbers["localisation"]["mean"] == pytest.approx(expected["mean"], abs=1e-5)
    averaged = localisation(net, grids, ours, windows=(3,), progress=False).averaged[3].mean()
    by_window = numbers["localisation"]["mean_by_window"]
    assert list(by_window) == ["1", "3"]
    assert by_window["3"] == pytest.approx(averaged, abs=1e-5)
    expected = pixel_removal(
        net, images[:5], quarters.test_labels[:5], ours, points=4, progress=False
    ).summary()
    assert numbers["pixel_removal"]["most"]["area"] == pytest.approx(
        expected["most"]["area"], abs=1e-5
    )
    ixg, deeplift = (model["methods"][name] for name in ("input_x_gradient", "deeplift"))
    assert deeplift["label"] == "DeepLIFT (= IxG)"
    assert deeplift["localisation"] == ixg["localisation"] != numbers["localisation"]
    accuracy = np.mean(logits.argmax(-1) == quarters.test_labels)
    assert model["test_accuracy"] == pytest.approx(accuracy)


@pytest.fixture
def counted(monkeypatch):
    """Counts the grids that are scored; stops like Ctrl-C before more than `allowed`."""
    state = {"grids": 0, "allowed": 1000}
    original = grid_localisation.localisation

    def localisation(model, grids, *args, **kwargs):
        if state["grids"] + len(grids) > state["allowed"]:
            raise KeyboardInterrupt
        state["grids"] += len(grids)
        return original(model, grids, *args, **kwargs)

    monkeypatch.setattr(grid_localisation, "localisation", localisation)
    return state


def test_a_run_goes_on_where_it_stopped(command, nets, counted, tmp_path):
    flags = [
        "--model",
        nets["t4"],
        "--methods",
        "contributions",
        "--metrics",
        "localisation",
    ]
    flags += ["--figures", "none", "--output"]
    whole, parted = tmp_path / "whole", tmp_path / "parted"
    assert command(*flags, whole)[0] == 0
    assert counted["grids"] == 6

    counted.update(grids=0, allowed=5)
    code, _, err = command(*flags, parted)
    assert code == 130 and "goes on where it stopped" in err
    assert not (parted / "results.json").exists()
    counted.update(grids=0, allowed=1000)
    assert command(*flags, parted)[0] == 0
    assert counted["grids"] == 1
    scores = [
        results(folder)["models"][0]["methods"]["contributions"]["localisation"]
        for folder in (whole, parted)
    ]
    assert scores[0] == scores[1]

    # More grids: the whole slices of the first run are taken up.
    counted.update(grids=0)
    assert command(*flags, whole, "--grids", "10")[0] == 0
    assert counted["grids"] == 5


def test_changed_arguments_never_meet_old_numbers(command, nets, counted, tmp_path):
    flags = ["--methods", "occlusion_3", "--metrics", "localisation", "--figures", "none"]
    flags += ["--output", tmp_path]
    assert command(*flags, "--model", nets["t4"])[0] == 0
    for changed in (["--seed", "1"], ["--occlusion-stride", "1"], ["--limit-test", "60"]):
        counted.update(grids=0)
        assert command(*flags, "--model", nets["t4"], *changed)[0] == 0
        assert counted["grids"] == 6, changed
    # The same path with another model in it.
    moved = tmp_path / "t4/model.keras"
    moved.parent.mkdir()
    moved.write_bytes(nets["t4"].read_bytes())
    counted.update(grids=0)
    assert command(*flags, "--model", moved)[0] == 0
    assert counted["grids"] == 0
    moved.write_bytes(nets["t2"].read_bytes())
    assert command(*flags, "--model", moved)[0] == 0
    assert counted["grids"] == 6


def test_figures_without_their_inputs_are_skipped_with_a_sentence(command, nets, tmp_path):
    flags = ["--model", nets["t4"], "--metrics", "none", "--methods", "contributions"]
    code, out, err = command(*flags, "--figures", "4,6,7,a7,sanity", "--output", tmp_path)
    assert code == 0, err
    stored = results(tmp_path)
    assert sorted(stored["figures"]) == ["figure_7.pdf", "figure_7.png"]
    assert sorted(stored["figures_skipped"]) == ["4", "6", "a7", "sanity"]
    assert "figure a7 skipped: there is no baseline." in out


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--metrics", "localization"], "expected some of localisation"),
        (["--methods", "contributions,shapley"], "expected some of contributions"),
        (["--figures", "99"], "expected some of 4"),
        (["--grid-size", "3"], "grid size 3 need 9 classes, the data has 4"),
        (["--grids", "500"], "Ask for at most"),
        (["--video", "nowhere.gif", "--figures", "video"], "nowhere.gif is neither"),
        (["--grids", "0"], "expected a whole number from 1 to 1000000000, received '0'"),
        (["--model", "nowhere/model.keras"], "There is no model nowhere/model.keras"),
        (["--baseline", "nowhere/model.keras"], "There is no model nowhere/model.keras"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(flags, message, command, nets, tmp_path):
    flags = [*flags, "--output", tmp_path] + ([] if "--metrics" in flags else ["--metrics"])
    flags += ["localisation"] if flags[-1] == "--metrics" else []
    code, _, err = command("--model", nets["t4"], "--methods", "contributions", *flags)
    assert code == 2
    assert message in err.strip().splitlines()[-1]
    assert "Traceback" not in err


@pytest.mark.parametrize("flag", ["--output", "--logdir"])
def test_an_output_that_is_a_file_is_told(flag, recipe, command, nets, monkeypatch):
    monkeypatch.setattr(recipe, "interpret", lambda *_: pytest.fail("began"))
    code, _, err = command("--model", nets["t4"], flag, __file__)
    assert code == 2 and "test_interpret.py is a file. Expected a folder" in err


def test_models_are_looked_for_before_the_data(recipe, command, tmp_path, monkeypatch):
    def load_data(*_):
        raise AssertionError("the data was loaded first")

    monkeypatch.setattr(recipe, "load_data", load_data)
    flags = ["--dataset", "cifar10", "--model", tmp_path / "model.keras"]
    code, _, err = command(*flags, "--output", tmp_path / "out", tiny=False)
    assert code == 2 and "There is no model" in err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["net", "classifier"])
def test_models_of_other_data_are_told(kind, command, quarters, tmp_path):
    def made(size, classes):
        if kind == "net":
            return CoDANet([DAUConv2D(classes, 2, 3)], temperature=1, image_size=size)
        inputs = keras.Input((size, size, 3))
        outputs = keras.layers.Dense(classes)(keras.layers.Flatten()(inputs))
        return keras.Model(inputs, outputs)

    path = tmp_path / "model.keras"
    for model, message in (
        (made(SIZE + 2, 4), "takes images of 10x10 pixels, the data has 8x8"),
        (made(SIZE, 7), "has 7 classes, the data has 4"),
    ):
        model.save(path)
        code, _, err = command("--model", path, "--output", tmp_path / "out")
        assert code == 2 and message in err and str(path) in err
        assert not (tmp_path / "out").exists()


def test_a_broken_model_is_named(command, tmp_path):
    (tmp_path / "model.keras").write_bytes(b"PK not a model")
    code, _, err = command("--model", tmp_path / "model.keras", "--output", tmp_path)
    assert code == 2
    assert "model.keras cannot be loaded as a Keras model" in err
