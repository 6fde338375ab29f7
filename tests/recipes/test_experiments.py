"""The paper's experiments by name: the table, command lines, and that each of them trains."""

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from coda_keras_recipes import cifar10, experiments
from coda_keras_recipes.experiments import EXPERIMENTS

from coda_keras import PRESETS
from coda_keras.data.images import ImageData
from coda_keras.evaluation import published_cifar10

ROOT = Path(__file__).resolve().parents[2]
CIFAR10 = [name for name, row in EXPERIMENTS.items() if row.recipe == "cifar10"]


def parse(line):
    return cifar10.parse(line.split())


# The table.


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_row_is_a_command_line_of_its_recipe(name):
    row = EXPERIMENTS[name]
    module = importlib.import_module(f"coda_keras_recipes.{row.recipe}")
    assert row.places
    if row.settings is None:
        return
    settings = module.parse(["--experiment", name]).as_dict()
    expected = {**row.settings, "experiment": name, "output": Path("runs", name)}
    assert {key: settings[key] for key in expected} == expected


def test_the_paper_s_numbers_are_those_that_its_authors_published():
    models = published_cifar10()["models"]
    for name, row in EXPERIMENTS.items():
        key = name.replace("s_coda_sq_t", "9L-S-CoDA-SQ-")
        if key in models:
            assert row.localisation == models[key]["Ours"]["localisation"]["mean"]
        else:
            assert row.localisation is None


def test_the_table_shows_the_paper_s_numbers_and_stored_results(monkeypatch, tmp_path):
    def stored(accuracy, localisation):
        return {
            "experiment": "s_coda_sq_t50",
            "parameters": 1_076_984,
            "training_seconds": 7200.0,
            "arguments": {"epochs": 3, "limit_train": 20_000},
            "test_accuracy": accuracy,
            "localisation": localisation,
        }

    results = [stored(0.5, 0.25), stored(0.625, None)]
    (tmp_path / "experiments.json").write_text(json.dumps({"results": results}))
    monkeypatch.setattr(experiments, "RESULTS", tmp_path)
    lines = experiments.table().splitlines()
    assert len(lines) == len(EXPERIMENTS) + 2
    rows = {cells(line)[0]: cells(line)[2:] for line in lines}
    assert rows["s_coda_sq_t50"] == ["-", "62.5%", "0.4447", "-", "1.1M", "3 x 20,000", "2.00"]
    # Without a net of ours the row says why.
    assert rows["resnet50"] == ["-", "-", "-", "-", "needs ImageNet", "-", "-"]
    assert all(cell for line in lines for cell in cells(line))


def cells(line):
    return [cell.strip() for cell in line.strip().split("|")[1:-1]]


@pytest.mark.parametrize("asked", ["recipe", "script"])
def test_the_list_is_printed_without_anything_else(asked, monkeypatch, capsys):
    if asked == "recipe":
        with pytest.raises(SystemExit) as end:
            parse("--list --experiment nonsense")
        assert end.value.code == 0
    else:
        monkeypatch.setattr(sys, "argv", ["experiments.py"])
        experiments.main()
    assert capsys.readouterr().out.strip() == experiments.table()


# Command lines.


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("", {"temperature": 1000.0, "experiment": None, "output": Path("runs/cifar10")}),
        (
            "--experiment s_coda_sq_lambda_0.1",
            {"temperature": 64.0, "regularisation": 0.1, "epochs": 200, "rank_scale": 1.0},
        ),
        (
            "--fast --experiment s_coda_l2_lambda_1",
            {"temperature": 64.0, "regularisation": 1.0, "rescale": "l2", "optimizer": "muon"},
        ),
        (
            "--experiment s_coda_sq_t50 --fast",
            {"rank_scale": 0.125, "output": Path("runs/s_coda_sq_t50-fast")},
        ),
        ("--fast --experiment s_coda_sq_rank_0.5", {"rank_scale": 0.5, "epochs": 12}),
        (
            "--experiment=s_coda_sq_t10 --epochs 3 --temperature 20 --output there",
            {"temperature": 20.0, "epochs": 3, "output": Path("there")},
        ),
        ("--experiment m_coda_sq_randaugment", {"preset": "m_coda", "randaugment": True}),
    ],
)
def test_rows_come_before_the_recipe_s_values_and_flags_before_rows(line, expected):
    settings = parse(line).as_dict()
    assert {name: settings[name] for name in expected} == expected
    assert "list" not in settings


def test_misspelt_names_suggest_the_nearest():
    with pytest.raises(ValueError, match=r"no experiment 's_coda_sq_t10k'. Did you mean s_coda_sq"):
        parse("--experiment s_coda_sq_t10k")
    with pytest.raises(
        ValueError, match=r"resnet56 is an experiment of `coda-keras train resnet56`"
    ):
        parse("--experiment resnet56")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--epohs 3", "unrecognized arguments: --epohs 3. Did you mean --epochs?"),
        ("--temprature=5", "unrecognized arguments: --temprature=5. Did you mean --temperature?"),
        ("--rank 2", "unrecognized arguments: --rank 2."),
        ("--regularisation -1", "-1 is not a number from 0 up"),
    ],
)
def test_misspelt_options_suggest_the_nearest(line, said, capsys):
    with pytest.raises(SystemExit) as end:
        parse(line)
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


# Training.


@pytest.fixture
def tiny(monkeypatch, concluded):
    """CIFAR-10 of a few small images, nets of three narrow layers, and no report."""
    random = np.random.default_rng(0)
    images = random.integers(0, 255, (4, 8, 8, 3)).astype("uint8")
    labels = np.arange(4, dtype="int32")
    data = ImageData(images, labels, images[:2], labels[:2], [str(n) for n in range(10)])
    monkeypatch.setattr(cifar10, "load", lambda settings: data)
    for name in ("s_coda", "m_coda"):
        sizes = {"filters": (2, 2, 10), "ranks": (1, 1, 1), "kernel_sizes": (3, 3, 1)}
        preset = PRESETS[name]._replace(**sizes, strides=(2, 1, 1))
        monkeypatch.setitem(PRESETS, name, preset)
    return concluded


@pytest.mark.parametrize("name", CIFAR10)
def test_every_experiment_passes_two_steps(name, tiny, monkeypatch, tmp_path):
    line = f"--experiment {name} --epochs 1 --batch-size 2 --output {tmp_path / 'run'}"
    monkeypatch.setattr(sys, "argv", ["cifar10.py", *line.split()])
    cifar10.main()
    ((settings, net, _, history, _),) = tiny
    row = EXPERIMENTS[name].settings
    assert net.temperature == row.get("temperature", 1000.0)
    assert net.body[0].rescale == row.get("rescale", "squash")
    assert (net.penalty.strength if net.penalty else 0) == row.get("regularisation", 0)
    assert settings.experiment == name
    assert len(history) == 1 and np.isfinite(history[0]["loss"])
    assert int(net.optimizer.iterations) == 2
