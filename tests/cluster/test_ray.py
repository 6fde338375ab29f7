"""Explaining, sweeps, studies and trainings on Ray, of which a worker and then a node is lost."""

import io
import json
import sys

import keras
import numpy as np
import pytest
from coda_keras_recipes import digits, sweep, training_run
from ray_helpers import Meanwhile, SlowImages, is_running, kill_one

from coda_keras import CoDANet, DAUConv2D, explain_to_parquet, training
from coda_keras.explained import parts
from coda_keras.study import Settings, Study

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
SIZE = 16
# In the place of a recipe: notes its process when it starts and when it ends.
RECIPE = """
import json, os, sys, time
from pathlib import Path
flags = dict(zip(sys.argv[1::2], sys.argv[2::2]))
folder = Path(flags["--output"])
folder.mkdir(exist_ok=True)
with (folder / "starts").open("a") as starts:
    starts.write(f"{os.getpid()} ")
while not (folder.parent / "go").exists():
    time.sleep(0.1)
with (folder / "ended").open("a") as ended:
    ended.write(f"{os.getpid()} ")
(folder / "scores-0-grids-of-3.json").write_text("{}")
others = ["test_images", "completeness_error", "note", "parameters", "training_seconds"]
metrics = dict.fromkeys([*others, "finished", "versions", "hardware"])
(folder / "metrics.json").write_text(json.dumps({**metrics, "test_accuracy": 0.5, "arguments": {}}))
"""


@pytest.fixture(scope="module")
def net():
    keras.utils.set_random_seed(1)
    layers = [DAUConv2D(8, 6, 3, strides=2), DAUConv2D(4, 6, 3)]
    return CoDANet(layers, temperature=1.0, image_size=SIZE)


def files(folder):
    return len(list(folder.glob("part-*.parquet")))


def test_explained_rows_are_those_of_one_process(nodes, net, tmp_path, monkeypatch):
    pq = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr(parts, "PART_ROWS", 10)
    source, many = SlowImages(SIZE, 0, 400), {"maps": "float32", "progress": False}
    alone = explain_to_parquet(net, SlowImages(SIZE, 0, 400, 0), tmp_path / "alone", **many)
    folder = tmp_path / "wide"
    with Meanwhile(
        (lambda: files(folder) > 5, lambda: kill_one("MapWorker")),
        (lambda: files(folder) > 15, nodes.remove),
    ) as meanwhile:
        wide = explain_to_parquet(net, source, folder, ray="", **many)
    assert len(meanwhile.done) == 2
    assert wide[1:] == alone[1:] == (400, len(range(3, 400, 17)))
    rows = pq.read_table(folder).to_pylist()
    assert [row["row"] for row in rows] == list(range(400))
    for row, expected in zip(rows, pq.read_table(tmp_path / "alone").to_pylist()):
        assert row["id"] == expected["id"] and row["error"] == expected["error"]
        if row["error"]:
            continue
        maps = [np.array(one["map"]) for one in (row, expected)]
        np.testing.assert_allclose(*maps, atol=1e-5 * np.abs(maps[1]).max())
        best, second = sorted(expected["logits"])[:-3:-1]
        assert row["predicted"] == expected["predicted"] or best - second < 1e-5 * abs(best)


def test_a_sweep_runs_lost_runs_again(nodes, tmp_path):
    """Stand-ins for recipes, which wait until what they are to outlast has happened."""
    scripts, output = tmp_path / "recipes", tmp_path / "out"
    scripts.mkdir()
    (scripts / "cifar10.py").write_text(RECIPE)
    names = ["s_coda_sq_t10", "s_coda_sq_t50", "s_coda_sq_t100", "s_coda_sq_t500"]
    work = sweep.Sweep(output, scripts, [], dict.fromkeys(names), 0, 3)

    def starts():
        return [int(word) for path in output.glob("*/starts") for word in path.read_text().split()]

    def alive():
        return sum(map(is_running, starts()))

    with Meanwhile(
        (lambda: len(starts()) == 2, lambda: kill_one("_call")),
        # The run of the killed worker has begun again.
        (lambda: len(starts()) == 3 and alive() == 2, nodes.remove),
        (lambda: alive() == 1, (output / "go").touch),
    ):
        assert sweep.run_all(work, [None], "", 1) == []
    # Both runs that were lost began again, and no run that had ended.
    assert len(starts()) == 6
    for name in names:
        processes = (output / name / "ended").read_text().split()
        assert len(processes) == 1 and processes[0] in (output / name / "starts").read_text()


def test_a_study_on_a_cluster_is_that_of_one_process(nodes, quarters, tmp_path):
    keras.utils.set_random_seed(1)
    small = CoDANet([DAUConv2D(4, 4, 3, strides=2), DAUConv2D(4, 4, 3)], image_size=8)
    small.build((None, 8, 8, 6))
    settings = Settings(
        methods=["contributions", "input_x_gradient"],
        metrics=["pixel_removal"],
        images=48,
        metric_arguments={"pixel_removal": {"points": 4}},
        batch_size=8,
    )
    alone = Study([small], quarters, settings, tmp_path / "alone")
    alone.run(report=lambda _: None)
    wide, lines = Study([small], quarters, settings, tmp_path / "wide"), []

    def cells():
        return len(list((tmp_path / "wide/parts").rglob("pixel_removal/*/*.npz")))

    with Meanwhile(
        (lambda: cells() >= 1, lambda: kill_one("_call")),
        (lambda: cells() >= 3, nodes.remove),
    ):
        wide.run(lines.append, ray="")
    assert len(lines) == 3
    for method in settings.methods:
        one, other = (made.rows(made.main, "pixel_removal", method) for made in (wide, alone))
        assert one.keys() == other.keys()
        for name in one:
            np.testing.assert_allclose(one[name], other[name], rtol=1e-4, atol=1e-5)


def test_a_training_goes_on_with_what_is_left_and_what_joins(nodes, tmp_path, monkeypatch):
    """A worker is killed, then a node; another joins once the command waits for it."""
    monkeypatch.setenv("RAY_ADDRESS", nodes.cluster.address)
    # Large steps would enlarge the rounding, by which two workers differ from one process.
    line = ["--limit-train", "64", "--limit-test", "16", "--batch-size", "32", "--rank-scale"]
    line += ["0.02", "--epochs", "20", "--checkpoint-every", "1", "--schedule", "steps"]
    line += ["--learning-rate", "1e-5"]
    wide, alone = tmp_path / "wide", tmp_path / "alone"
    # Which another thread can read meanwhile.
    said = io.StringIO()

    def steps():
        names = [path.stem.split("-") for path in wide.glob("checkpoint-*.npz")]
        return max((2 * int(epochs) + int(step) for _, epochs, step in names), default=0)

    with (
        Meanwhile(
            (lambda: steps() >= 1, lambda: kill_one("RayTrainWorker") and steps()),
            (lambda: steps() >= 6, lambda: nodes.remove() or steps()),
            (
                lambda: "Waiting: 2 workers need 2 CPUs, the cluster has 1." in said.getvalue(),
                nodes.join,
            ),
        ) as meanwhile,
        monkeypatch.context() as patch,
    ):
        patch.setattr(sys, "stdout", said)
        with pytest.raises(SystemExit) as end:
            digits.main([*line, "--output", str(wide), "--ray", "2", "--max-failures", "5"])
        assert end.value.code == 0
    killed, removed, _ = meanwhile.done
    assert 1 <= killed < removed < 40
    assert "The cluster is large enough again." in said.getvalue()
    settings = training.SettingsParser("", **digits.VALUES).settings(
        [*line, "--output", str(alone)]
    )
    data, augment = digits.load(settings).limit(64, 16), digits.augment(settings)
    devices = training.start(settings)
    expected_net, _ = training.train(settings, devices, training_run.coda_net, data, augment)
    net = keras.models.load_model(wide / "model.keras")
    for weight, expected in zip(net.get_weights(), expected_net.get_weights()):
        np.testing.assert_allclose(weight, expected, atol=2e-5 * np.abs(expected).max())
    assert len(json.loads((wide / "history.json").read_text())) == 20
