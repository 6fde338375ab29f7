"""The benchmarks, on nets small enough for a test."""

import importlib
import json
import site
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tiny
from coda_keras_export.api import arrays, serving_pb2
from coda_keras_recipes import cifar10
from processes import run_forked, run_in_process

from benchmarks import cold_start, floor, layers, served, views, waiting
from coda_keras import CoDANet, DAUConv2D

pytestmark = pytest.mark.tensorflow
ROOT = Path(__file__).resolve().parents[2]
quarters = tiny.quarters


def test_the_benchmark_records_times_and_their_conditions(monkeypatch, tmp_path):
    flags = ["--rank-scale", "0.02", "--image-size", "8", "--batch-size", "2"]
    flags += ["--repetitions", "1", "--operations", "forward", "--modes", "graph"]
    flags += ["--precisions", "float32"]
    output = tmp_path / "times.json"
    run(layers, monkeypatch, *flags, "--output", output)
    record = json.loads(output.read_text())
    rows = record["results"]
    assert [row["contender"] for row in rows] == [
        "factored, float32, graph",
        "patches, float32, graph",
    ]
    for row in rows:
        assert row["relative_difference"] < 1e-5
        assert row["milliseconds_per_image"] > 0
        assert row["floor_milliseconds_per_image"] > 0
        assert row["memory_growth_mib"] >= 0
    assert set(record["versions"]) == {"python", "coda-keras", "tensorflow", "keras", "numpy"}
    assert record["arguments"]["operations"] == ["forward"]
    assert {"commit", "uncommitted", "hardware", "load_average", "started"} <= record.keys()


def test_the_floor_is_that_of_both_convolutions():
    layers = [DAUConv2D(4, 2, 3, strides=2), DAUConv2D(5, 3, 1, use_bias=False)]
    net = CoDANet(layers, image_size=(5, 6))
    first, second = 3 * 3 * 6 * (2 + 3 * 4) * 3 * 3, 4 * (3 + 3 * 5) * 3 * 3
    counts = floor.multiply_adds(net)
    assert list(counts.values()) == [first, second]
    milliseconds = [floor.floor_milliseconds(net, name, 1e6) for name in floor.PASSES]
    expected = [2e-3 * passes * (first + second) for passes in (1, 3, 2)]
    assert milliseconds == pytest.approx(expected)


def measure_floor(*flags):
    """The benchmark on a net of three layers; in a process whose environment it changes."""
    tiny.PRESETS["s_coda"] = tiny.few_layers("s_coda")
    # As a program, it finds the module of its contenders beside it.
    site.addsitedir(str(ROOT / "benchmarks"))
    sys.argv = ["floor.py", *flags]
    floor.main()


def test_layers_and_the_network_are_held_against_the_floor(tmp_path):
    output = tmp_path / "floor.json"
    flags = ["--batch-size", 1, "--repetitions", 1, "--kernels", "avx2", "--output", output]
    said = run_in_process(measure_floor, *flags)
    record = json.loads(output.read_text())
    assert record["environment"] == {"ONEDNN_MAX_CPU_ISA": "AVX2"}
    operations = ["forward", "train", "explain"]
    parts = {row["part"] for row in record["results"]}
    assert len(parts) == 3 + 1
    assert len(record["results"]) == 3 * len(parts) + 1
    assert {row["operation"] for row in record["results"]} == {*operations, "explain all"}
    for row in record["results"]:
        assert row["ratio"] * row["floor_milliseconds_per_image"] == pytest.approx(
            row["milliseconds_per_image"]
        )
    assert floor.table(record["results"])[0] in said


@pytest.mark.parametrize("flag", ["--authors", "--other"])
def test_the_benchmark_refuses_a_folder_with_something_else(flag, tmp_path, capsys):
    flags = [flag, str(tmp_path), "--output", str(tmp_path / "times.json")]
    with pytest.raises(SystemExit) as stopped:
        layers.parse(flags)
    assert stopped.value.code == 2
    assert f"{flag}: {tmp_path} is no " in capsys.readouterr().err


def run(module, monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", [module.__name__, *map(str, arguments)])
    module.main()


@pytest.fixture(scope="module")
def serving():
    return importlib.import_module("benchmarks.serving")


def response(version, **outputs):
    made = serving_pb2.PredictResponse()
    made.model_spec.version.value = version
    for name, values in outputs.items():
        arrays.fill(made.outputs[name], values)
    return made


def test_answers_are_compared_in_every_output():
    right = {"logits": np.float32([[1, -2]]), "class_ids": np.int32([0])}
    assert not served.differs(response(1, **right), right)
    for wrong in (
        {"logits": np.float32([[1, -2.001]])},
        {"logits": np.float32([[1, np.nan]])},
        {"logits": np.float32([1, -2])},
        {"class_ids": np.int32([1])},
        {"more": np.int32([1])},
    ):
        assert served.differs(response(1, **{**right, **wrong}), right)
    assert served.differs(response(1, logits=right["logits"]), right)


def test_the_benchmark_of_serving_publishes_under_load(serving, monkeypatch, tmp_path, capsys):
    output, kept = tmp_path / "publish.json", []
    requests = serving.Requests

    def keeping(*arguments):
        kept.append(requests(*arguments))
        return kept[-1]

    monkeypatch.setattr(serving, "Requests", keeping)
    run(serving, monkeypatch, "publish", "--versions", 2, "--clients", 2, "--output", output)
    record = json.loads(output.read_text())
    (row,) = record["results"]
    assert row["right"] == row["requests"] > 0
    assert (row["wrong"], row["failed"]) == (0, {})
    assert row["versions"] >= 2
    assert serving.table([row])[-1] in capsys.readouterr().out
    # An answer of one net under the number of the other is wrong.
    first, second = kept[0].expected[5][1], kept[0].expected[5][2]
    assert not kept[0].wrong(5, response(3, **first))
    assert kept[0].wrong(5, response(4, **first))
    assert not kept[0].wrong(5, response(4, **second))


def test_the_attacks_say_what_became_of_the_server(serving, monkeypatch, tmp_path):
    attacks, output = importlib.import_module("benchmarks.attacks"), tmp_path / "attacks.json"
    run(attacks, monkeypatch, "--only", "names of a megabyte", "--output", output)
    (row,) = json.loads(output.read_text())["results"]
    assert row["answers"] == {"NOT_FOUND": 50}
    assert row["alive"]
    assert row["as_before"]


def test_the_overhead_is_that_of_equal_answers(monkeypatch, tmp_path):
    module = importlib.import_module("benchmarks.serving_overhead")
    output = tmp_path / "overhead.json"
    monkeypatch.setitem(tiny.PRESETS, "s_coda", tiny.few_layers("s_coda"))
    flags = ["--rank-scale", 0.02, "--image-size", 8, "--batches", 2, "--repetitions", 2]
    run(module, monkeypatch, *flags, "--output", output)
    (row,) = json.loads(output.read_text())["results"]
    assert row["ratio"] > 0
    assert [len(times) for times in row["all_milliseconds"].values()] == [2, 2]
    images, zeros = np.zeros((2, 8, 8, 3), "float32"), {"logits": np.zeros((2, 10), "float32")}
    with pytest.raises(ValueError, match="answers otherwise"):
        module.measure(lambda _: zeros, lambda *_, **__: response(1), images, 1)


def test_progress_scores_what_a_run_has_kept(monkeypatch, tmp_path, quarters, capsys):
    module = importlib.import_module("benchmarks.progress")
    monkeypatch.setattr(module, "load_tfds", lambda *_: quarters)
    folder = tmp_path / "run" / "checkpoints"
    folder.mkdir(parents=True)
    nets = [CoDANet([DAUConv2D(4, 2, 3)], image_size=8, temperature=2.0) for _ in range(2)]
    for epoch, net in enumerate(nets, 1):
        net.save(folder / f"{epoch:03}.keras")
    (tmp_path / "run" / "history.json").write_text('[{"seconds": 60}, {"seconds": 120}]')
    output, figure = tmp_path / "progress.json", tmp_path / "progress.png"
    flags = ["--run", f"mine={tmp_path / 'run'}", "--output", output, "--grids", 1, "--average", 2]
    run(module, monkeypatch, *flags, "--figure", figure)
    rows = json.loads(output.read_text())["results"]
    assert [(row["run"], row["epoch"], row["seconds"]) for row in rows] == [
        ("mine", 1, 60.0),
        ("mine", 2, 180.0),
    ]

    def accuracy(weights):
        net = CoDANet([DAUConv2D(4, 2, 3)], image_size=8, temperature=2.0)
        net.set_weights(weights)
        logits = net.predict(quarters.test_images.astype("float32") / 255, verbose=0)
        return np.mean(np.argmax(logits, axis=-1) == quarters.test_labels)

    first, second = (net.get_weights() for net in nets)
    mean = [(a + b) / 2 for a, b in zip(first, second)]
    assert [row["test_accuracy"] for row in rows] == [accuracy(first), accuracy(second)]
    assert rows[1]["average"]["test_accuracy"] == accuracy(mean)
    assert figure.stat().st_size > 1000
    assert module.table(rows)[-1] in capsys.readouterr().out
    # What is scored is not scored again.
    before = output.read_bytes()
    run(module, monkeypatch, *flags)
    assert json.loads(output.read_text())["results"] == json.loads(before)["results"]
    assert "mine" not in capsys.readouterr().out


def test_what_the_guide_says_of_the_results_is_so():
    def results(name):
        return json.loads((ROOT / f"benchmarks/results/{name}.json").read_text())["results"]

    loads = [*results("serving-load"), *results("serving-100000"), *results("serving-publish")]
    assert all(row["right"] == row["requests"] for row in loads)
    assert results("serving-100000")[0]["requests"] == 100_000
    assert all(row["as_before"] and row["alive"] for row in results("attacks"))
    assert all(row["ratio"] <= 1.15 for row in results("serving-overhead"))


def test_a_training_that_is_killed_ends_with_the_same_bits(tmp_path):
    output = tmp_path / "kills.json"
    flags = ["--kills", 1, "--epochs", 2, "--seed", 1, "--output", output]
    done = run_forked(ROOT / "benchmarks/kills.py", *flags)
    assert done.returncode == 0, done.stderr
    record = json.loads(output.read_text())
    assert record["same_bits"]
    # Not before its first step.
    assert record["killed_after"] != [None]


def test_pipelines_and_steps_have_rates(monkeypatch, tmp_path, capsys):
    module, output = importlib.import_module("benchmarks.pipeline"), tmp_path / "pipeline.json"
    monkeypatch.setitem(tiny.PRESETS, "s_coda", tiny.few_layers("s_coda"))
    flags = ["--rank-scale", 0.02, "--batch-size", 2, "--seconds", 0.01]
    try:
        run(module, monkeypatch, *flags, "--output", output)
    finally:
        keras.config.set_dtype_policy("float32")
    rows = json.loads(output.read_text())["results"]
    assert [row["what"] for row in rows[:3]] == list(module.PIPELINES)
    assert len(rows) == 8
    assert all(row["images_per_second"] > 0 for row in rows)
    assert all(row["what"] in capsys.readouterr().out for row in rows[:1])


def test_waiting_compares_weights_and_times_lines(tmp_path):
    net = CoDANet([DAUConv2D(2, 1, 1)], temperature=1.0, image_size=4)
    for name in ("one", "same"):
        net.save(tmp_path / f"{name}.keras")
    net.set_weights([weight + 1 for weight in net.get_weights()])
    net.save(tmp_path / "other.keras")
    one, same, other = (waiting.digest(tmp_path / f"{n}.keras") for n in ("one", "same", "other"))
    assert one == same != other

    program = "print('first'); print('last')"
    timed = list(waiting.lines([sys.executable, "-c", program], tmp_path))
    assert [text for _, text in timed] == ["first\n", "last\n", "last\n"]
    seconds = [moment for moment, _ in timed]
    assert seconds == sorted(seconds)
    with pytest.raises(SystemExit, match="exit code 3"):
        list(waiting.lines([sys.executable, "-c", "exit(3)"], tmp_path))


def test_cold_starts_are_measured_beside_an_import(tmp_path, monkeypatch, capsys):
    programs = {cold_start.FLOOR: ["-c", "pass"], "other": ["-c", "import json"]}
    monkeypatch.setattr(cold_start, "PROGRAMS", programs)
    output = tmp_path / "cold.json"
    monkeypatch.setattr(sys, "argv", ["x", "--repetitions", "2", "--output", str(output)])
    cold_start.main()
    record = json.loads(output.read_text())
    first, second = record["results"]
    assert (first["program"], first["ratio"]) == (cold_start.FLOOR, 1)
    assert len(second["all_seconds"]) == 2
    assert second["ratio"] == second["seconds"] / first["seconds"]
    assert {"commit", "versions", "hardware"} <= record.keys()
    assert "other" in capsys.readouterr().out
    with pytest.raises(subprocess.CalledProcessError):
        cold_start.run(sys.executable, ["-c", "raise SystemExit(1)"], tmp_path)


def test_averages_over_views_are_paired_with_the_net_alone():
    before, after = np.array([1, 1, 1, 0, 0, 0], bool), np.array([1, 1, 0, 1, 1, 0], bool)
    # Of three discordant images two at least on one side: certain.
    assert views.paired(before, after) == {"gained": 2, "lost": 1, "p_value": 1.0}
    many = np.arange(20) < 10
    assert views.paired(many, many | True)["p_value"] == pytest.approx(2 / 2**10)
    assert views.paired(many, many)["p_value"] == 1
    values, labels = np.array([[2.0, -1.0], [0.0, 3.0]]), np.array([0, 0])
    signed = np.array([2.0, 1.0, 0.0, -3.0])
    expected = {"loss": np.mean(np.log1p(np.exp(-signed))), "accuracy": 0.5}
    assert views.fit(values, labels) == pytest.approx(expected)
    scores = np.array([0.5, 0.6, 0.7])
    assert views.differences(scores, scores)["p_value"] == 1
    found = views.differences(scores, scores + np.array([0.1, 0.2, 0.3]))
    # t = 0.2 / (0.1 / sqrt 3) with two degrees of freedom.
    wanted = {"difference": 0.2, "standard_error": 0.1 / 3**0.5, "p_value": 0.0742}
    assert found == pytest.approx(wanted, rel=1e-3)


def test_seeds_of_a_candidate_are_one_row_of_their_means():
    from benchmarks import distillation

    few = {"grids": 3, "localisation": 0.9, "published_rule_grids": 0}
    all_of_them = {"grids": 20, "localisation": 0.4, "published_rule_grids": 20}
    rows = [
        {"candidate": "softmax", "test_accuracy": 0.5, **few},
        {"candidate": "softmax", "test_accuracy": 0.6, **all_of_them}
        | {"published_rule_localisation": 0.3}
        | {"grids_without_threshold": 20, "localisation_without_threshold": 0.35},
        {"candidate": "sigmoids", "test_accuracy": 0.7},
    ]
    _, _, softmax, sigmoids = distillation.table(rows)
    cells = [cell.strip() for cell in softmax.strip("|").split("|")]
    assert cells == ["softmax", "2", "55.0% (50.0% to 60.0%)", "0.400", "0.300", "0.350"]
    assert sigmoids.replace(" ", "") == "|sigmoids|1|70.0%||||"


def test_flags_of_the_recipe_go_on_to_every_candidate(tmp_path, monkeypatch):
    from benchmarks import distillation

    arguments = ["distillation.py", "--output", "x.json", "--candidates"]
    monkeypatch.setattr("sys.argv", [*arguments, "labels alone", "--epochs", "6"])
    args, more = distillation.parse()
    assert more == ["--epochs", "6"]
    lines = []
    recorder = SimpleNamespace(run=lambda line, **_: lines.append(line), DEVNULL=None)
    monkeypatch.setattr(distillation, "subprocess", recorder)
    (tmp_path / "metrics.json").write_text(
        '{"arguments": {"precision": "float32"}, "training_seconds": 1.0}'
    )
    row = distillation.train("labels alone", 3, tmp_path, args, more)
    settings = cifar10.parse(list(map(str, lines[0][2:])))
    assert (settings.epochs, settings.seed, settings.rank_scale) == (6, 3, 0.125)
    assert row["flags"][-2:] == ["--epochs", "6"]


def test_a_file_of_candidates_has_rows_of_the_same_flags(tmp_path, monkeypatch, capsys):
    from benchmarks import distillation

    file = tmp_path / "rows.json"
    file.write_text('{"flags": ["--epochs", "6"], "results": []}')
    line = ["distillation.py", "--output", str(file), "--candidates", "labels alone"]
    monkeypatch.setattr("sys.argv", line)
    with pytest.raises(SystemExit, match="2"):
        distillation.main()
    assert "Name another --output" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("candidate", "needed"),
    [("sigmoids", "--teacher"), ("sigmoids, scale 2, maps with weight 1", "--map-teacher")],
)
def test_candidates_without_their_teacher_are_refused_before_training(
    candidate, needed, monkeypatch, capsys
):
    from benchmarks import distillation

    arguments = ["distillation.py", "--output", "x.json", "--candidates", candidate]
    arguments += ["--teacher", "teacher.npz"] * (needed != "--teacher")
    monkeypatch.setattr("sys.argv", arguments)
    with pytest.raises(SystemExit, match="2"):
        distillation.parse()
    assert f"need {needed}" in capsys.readouterr().err
