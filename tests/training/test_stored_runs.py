"""Runs interrupted under 0.2.0 go on to the weights and the history that they had there."""

import json
import shutil

import numpy as np
import pytest
from conftest import BACKEND
from processes import TESTS, run_in_process

pytestmark = pytest.mark.process
RUNS = TESTS / "fixtures/0.2.0/runs"
NAMES = {"tensorflow": ["adam", "muon"], "jax": ["jax"]}
# What the fixtures call a "s_coda", so that they are small.
TINY = {"filters": (3, 4, 10), "ranks": (2, 2, 2), "kernel_sizes": (3, 3, 1), "strides": (2, 2, 1)}


def resume(name, folder):
    """Repeats the command of a run, without TensorBoard's pictures and a servable."""
    from coda_keras_recipes import digits, training_run

    import coda_keras

    presets = coda_keras.PRESETS
    presets["s_coda"] = presets["s_coda"]._replace(**TINY)
    training_run.boards = lambda *_: []
    training_run.package = lambda *_: None
    command = json.loads((RUNS / name / "about.json").read_text())["command"]
    flags = command.partition("digits.py ")[2].replace("FOLDER", folder).split()
    digits.main(flags)


@pytest.mark.parametrize("name", NAMES.get(BACKEND, []))
def test_an_interrupted_run_of_0_2_0_goes_on_as_it_did(name, tmp_path):
    import keras

    folder = tmp_path / "run"
    shutil.copytree(RUNS / name, folder)
    run_in_process(resume, name, folder)
    expected = np.load(RUNS / name / "expected-net.npz")
    net = keras.models.load_model(folder / "model.keras")
    for number, weight in enumerate(net.get_weights()):
        np.testing.assert_allclose(weight, expected[f"weight_{number}"], rtol=1e-4, atol=1e-6)
    metrics, before = (
        json.loads(path.read_text())
        for path in (folder / "metrics.json", RUNS / name / "expected-metrics.json")
    )
    assert metrics.keys() == before.keys()
    for epoch, logs in enumerate(before["history"]):
        # While the temperature rose or images grew 0.2.0 had it of neither T nor whole images.
        names = set(logs) - {"seconds"} - ({"val_loss"} if name == "muon" and epoch < 3 else set())
        for key in names:
            assert metrics["history"][epoch][key] == pytest.approx(logs[key], rel=1e-4), key
    # What is recorded is the same to the byte, but for where the run lies.
    assert (folder / "arguments.json").read_text() == (RUNS / name / "arguments.json").read_text()
    # Later versions can train on a cluster.
    expected = {**before["arguments"], "ray": None, "max_failures": 0, "output": None}
    assert {**metrics["arguments"], "output": None} == expected
    assert list(metrics["arguments"]) == list(expected)
