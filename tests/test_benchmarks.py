"""The benchmarks, on nets small enough for a test."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import pytest

from benchmarks import served
from export import arrays, messages

pytestmark = pytest.mark.tensorflow
ROOT = Path(__file__).resolve().parents[1]


def test_the_benchmark_records_times_and_their_conditions(tmp_path):
    flags = ["--rank-scale", "0.02", "--image-size", "8", "--batch-size", "2"]
    flags += ["--repetitions", "1", "--operations", "forward", "--modes", "graph"]
    flags += ["--precisions", "float32"]
    output = tmp_path / "times.json"
    command = [sys.executable, ROOT / "benchmarks/layers.py", *flags, "--output", output]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    record = json.loads(output.read_text())
    rows = record["results"]
    assert [row["contender"] for row in rows] == [
        "factored, float32, graph",
        "patches, float32, graph",
    ]
    for row in rows:
        assert row["relative_difference"] < 1e-5
        assert row["milliseconds_per_image"] > 0
        assert row["memory_growth_mib"] >= 0
    assert set(record["versions"]) == {"python", "coda-keras", "tensorflow", "keras", "numpy"}
    assert record["arguments"]["operations"] == ["forward"]
    assert {"commit", "uncommitted", "hardware", "load_average", "started"} <= record.keys()


def run(module, monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", [module.__name__, *map(str, arguments)])
    module.main()


@pytest.fixture(scope="module")
def serving():
    return importlib.import_module("benchmarks.serving")


def response(version, **outputs):
    made = messages.PredictResponse()
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
    flags = ["--rank-scale", 0.02, "--image-size", 8, "--batches", 2, "--repetitions", 2]
    run(module, monkeypatch, *flags, "--output", output)
    (row,) = json.loads(output.read_text())["results"]
    assert row["ratio"] > 0
    assert [len(times) for times in row["all_milliseconds"].values()] == [2, 2]
    images, zeros = np.zeros((2, 8, 8, 3), "float32"), {"logits": np.zeros((2, 10), "float32")}
    with pytest.raises(ValueError, match="answers otherwise"):
        module.measure(lambda _: zeros, lambda *_, **__: response(1), images, 1)


@pytest.mark.parametrize(
    "name, module",
    [
        ("serving-load", "serving"),
        ("serving-100000", "serving"),
        ("serving-publish", "serving"),
        ("serving-overhead", "serving_overhead"),
        ("attacks", "attacks"),
    ],
)
def test_the_guide_prints_stored_results(name, module):
    rows = json.loads((ROOT / f"benchmarks/results/{name}.json").read_text())["results"]
    table = "\n".join(importlib.import_module(f"benchmarks.{module}").table(rows))
    assert f"\n{table}\n" in (ROOT / "docs/serving.md").read_text()


def test_what_the_guide_says_of_the_results_is_so():
    def results(name):
        return json.loads((ROOT / f"benchmarks/results/{name}.json").read_text())["results"]

    loads = [*results("serving-load"), *results("serving-100000"), *results("serving-publish")]
    assert all(row["right"] == row["requests"] for row in loads)
    assert results("serving-100000")[0]["requests"] == 100_000
    assert all(row["as_before"] and row["alive"] for row in results("attacks"))
    assert all(row["ratio"] <= 1.15 for row in results("serving-overhead"))
