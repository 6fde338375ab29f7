"""Recipes as a user runs them: training, resuming, results, mistakes."""

import json
import os
import subprocess
import sys
from functools import partial
from importlib import import_module
from pathlib import Path

import keras
import numpy as np
import pytest
import tiny
from coda_keras_recipes import training_run
from processes import run_forked, run_in_process

from coda_keras import training
from coda_keras.models import resnet
from coda_keras.utils import extras

pytestmark = pytest.mark.tensorflow
ROOT = Path(__file__).resolve().parents[2]
PREPARED = ROOT.parent / "shared/tfds"
TINY = ["--rank-scale", "0.02", "--limit-train", "64", "--limit-test", "40"]


def recipe(name, *flags):
    """Runs a recipe in a forked process; returns its exit code, output and errors."""
    done = run_forked(ROOT / "recipes" / name, *flags)
    return done.returncode, done.stdout, done.stderr


def new_recipe(name, *flags, **environment):
    """As `recipe` does, in a new Python."""
    done = subprocess.run(
        [sys.executable, ROOT / "recipes" / name, *map(str, flags)],
        capture_output=True,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **environment},
    )
    return done.returncode, done.stdout, done.stderr


def train_small(name, *flags):
    """What a recipe does, with nets of few layers; in a process of its own."""
    tiny.PRESETS["s_coda"] = tiny.few_layers("s_coda")
    resnet.resnet56 = partial(resnet.resnet56, depth=8)
    import_module(f"coda_keras_recipes.{name}").main(flags)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished tiny run of three epochs: its folder and what it printed."""
    folder = tmp_path_factory.mktemp("runs") / "digits"
    flags = [*TINY, "--epochs", 3, "--output", folder]
    return folder, run_in_process(train_small, "digits", *flags)


def test_a_run_leaves_everything_behind(run):
    folder, out = run
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["test_images"] == 40
    assert metrics["arguments"]["rank_scale"] == 0.02
    assert len(metrics["history"]) == 3
    assert metrics["versions"]["keras"] == keras.__version__
    assert metrics["completeness_error"] < 1e-5
    assert f"{metrics['test_accuracy']:.4f}" in out
    assert (folder / "gallery.png").read_bytes().startswith(b"\x89PNG")
    assert "explorer.html" in out and (folder / "explorer.html").stat().st_size > 1e5
    assert len(list((folder / "examples").glob("*.png"))) == 10
    assert (folder / "servables/digits/1/saved_model.pb").exists()
    assert not list(folder.glob(".*"))


def test_the_reported_accuracy_is_that_of_the_saved_model(run):
    from sklearn.datasets import load_digits

    folder, _ = run
    digits = load_digits()
    grey = np.round(digits.images[-360:-320] * 255 / 16).repeat(2, 1).repeat(2, 2) / 255
    images = np.stack([grey] * 3, axis=-1).astype("float32")
    net = keras.models.load_model(folder / "model.keras")
    predicted = keras.ops.convert_to_numpy(net(images)).argmax(-1)
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["test_accuracy"] == pytest.approx(np.mean(predicted == digits.target[-360:-320]))
    assert metrics["history"][-1]["val_accuracy"] == pytest.approx(metrics["test_accuracy"])


def test_two_replicas_train(tmp_path):
    flags = [*TINY[2:], "--epochs", 1, "--replicas", 2, "--output", tmp_path / "digits"]
    run_in_process(train_small, "digits", *flags, "--regularisation", 0.1, "--accumulate", 2)
    assert json.loads((tmp_path / "digits/metrics.json").read_text())["completeness_error"] < 1e-5


@pytest.mark.parametrize(
    ("begin", "flags", "message"),
    [
        (recipe, ["--epochs", "0"], "expected a whole number from 1 to 1000000000, received '0'"),
        (recipe, ["--temperature", "-1"], "-1 is not a positive number"),
        (recipe, ["--preset", "huge"], "s_coda"),
        (recipe, ["--batch-size", "31", "--replicas", "2"], "cannot be split evenly"),
        (new_recipe, ["--limit-train", "8"], "8 training images for batches of 32"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(begin, flags, message, tmp_path):
    code, _, err = begin("digits.py", *flags, "--output", tmp_path / "run")
    assert code == 2
    assert message in err.strip().splitlines()[-1]
    # No usage, no log lines of TensorFlow.
    assert err.count("\n") == 1 and err.startswith("digits.py: ")
    assert list(tmp_path.iterdir()) == []


def test_an_output_that_is_a_file_is_told(tmp_path):
    (tmp_path / "taken").write_text("mine")
    for output in (tmp_path / "taken", tmp_path / "taken/run"):
        code, _, err = recipe("digits.py", *TINY, "--output", output)
        assert code == 2 and "taken is a file. Expected a folder" in err
    assert (tmp_path / "taken").read_text() == "mine"


def test_digits_without_scikit_learn_name_the_extra_and_leave_no_folder(tmp_path):
    (tmp_path / "packages").mkdir()
    (tmp_path / "packages/sklearn.py").write_text("raise ModuleNotFoundError(name='sklearn')")
    path = os.pathsep.join([str(tmp_path / "packages"), os.environ.get("PYTHONPATH", "")])
    flags = [*TINY, "--epochs", 1, "--output", tmp_path / "run"]
    code, _, err = new_recipe("digits.py", *flags, PYTHONPATH=path)
    assert code == 2
    last = err.strip().splitlines()[-1]
    assert last.startswith("digits.py: ") and "'coda-keras[demo]'" in last
    assert "Traceback" not in err
    assert not (tmp_path / "run").exists()


def test_without_the_extra_for_servables_a_training_says_that_it_makes_none(monkeypatch, capsys):
    made = []
    monkeypatch.setattr(training, "fit", lambda *arguments: made.append(arguments[-1]))
    for module in ("keras", "no_such_module"):
        monkeypatch.setitem(extras.EXTRAS, "serve", (module,))
        training_run.run(training.Settings(), None, None, None, "coda")
    assert made[0] is not None and made[1] is None
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("no servable at the end: The package no_such_module is not installed. ")


def test_a_finished_run_is_never_overwritten(run):
    folder, _ = run
    before = (folder / "metrics.json").read_bytes()
    code, _, err = recipe("digits.py", *TINY, "--epochs", 3, "--output", folder)
    assert code == 2 and "holds a finished run" in err
    assert (folder / "metrics.json").read_bytes() == before


def test_an_interrupted_run_is_not_resumed_with_other_arguments(run, tmp_path):
    arguments = json.loads((run[0] / "arguments.json").read_text())
    (tmp_path / "arguments.json").write_text(json.dumps(arguments))
    flags = [*TINY, "--epochs", 3, "--seed", 5, "--temperature", 7, "--output", tmp_path]
    code, _, err = recipe("digits.py", *flags)
    assert code == 2
    assert "--seed, --temperature" in err


@pytest.mark.skipif(not PREPARED.exists(), reason="no prepared CIFAR-10")
@pytest.mark.parametrize(
    "name, flags",
    [("cifar10", ["--cutout", "4"]), ("resnet56", ["--seed", "3"])],
)
def test_cifar10_trains_on_prepared_data(name, flags, tmp_path):
    flags = ["--data", PREPARED, *TINY[2:], "--epochs", 1, "--batch-size", 32, *flags]
    out = run_in_process(train_small, name, *flags, "--output", tmp_path / "run")
    assert "test accuracy" in out
    explains = name == "cifar10"
    assert ("servable" in out) == (tmp_path / "run/servables/coda/1").exists() == explains
    metrics = json.loads((tmp_path / "run/metrics.json").read_text())
    assert (metrics["completeness_error"] is not None) == explains
    assert ("temperature" in metrics["arguments"]) == explains


def test_help_shows_defaults():
    code, out, err = recipe("cifar10.py", "--help")
    assert code == 0
    assert "default: 0.00025" in out and "Table C.1" in out
    assert err == ""


@pytest.mark.parametrize(
    "name, ignored",
    [
        ("resnet56.py", ["--preset", "--rescale", "--temperature", "--rank-scale"]),
        ("digits.py", ["--randaugment"]),
    ],
)
def test_recipes_take_no_flags_that_they_ignore(name, ignored):
    code, out, _ = recipe(name, "--help")
    assert code == 0 and "--learning-rate" in out
    assert not [flag for flag in ignored if flag in out]


def test_the_cifar10_recipe_has_only_coda_nets():
    code, _, err = recipe("cifar10.py", "--preset", "resnet56")
    assert code == 2 and "invalid choice: 'resnet56'" in err


def test_help_of_the_demo_trains_nothing(tmp_path):
    done = run_forked(ROOT / "recipes/demo.py", "--help", cwd=tmp_path)
    assert done.returncode == 0 and "trains a net, packages it, serves it" in done.stdout
    assert list(tmp_path.iterdir()) == []
